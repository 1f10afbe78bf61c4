"""Key points of a photograph by a detector, when one is installed: the extra `detect`.

Nothing else of the project needs it. The detector is rtmlib's RTMPose (Apache-2.0); it fetches its
own weights when it is first used, and shows what it fetches.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from gfla.data.pose_files import KeyPoints, read_text
from gfla.storage import StorageError

CONFIDENCE = 0.3  # of a joint, below which it counts as missing
DETECTOR = "RTMPose"
MODES = ("lightweight", "balanced", "performance")
_MISSING_EXTRA = (
    "finding key points in a photograph takes a detector: python -m pip install 'gfla[detect]' "
    "(rtmlib and onnxruntime), or give the key points of another detector as JSON"
)


def detect(
    picture: Image.Image,
    person: int = 0,
    confidence: float | None = None,
    mode: str = "balanced",
) -> KeyPoints:
    """Find a person's key points.

    Args:
        picture: mode RGB, upright.
        person: 0 = the largest, 1 = the next, and so on.
        confidence: of a joint, below which it counts as missing; None = CONFIDENCE.
        mode: of MODES: how large a network.

    Returns:
        The key points in pixels of the picture, with the same warnings as those from a file.

    Raises:
        ModuleNotFoundError: the extra is not installed.
        ValueError: nobody was found, or no such person or mode.
        gfla.storage.StorageError: the detector cannot fetch its weights.
    """
    if mode not in MODES:
        raise ValueError(
            f"there is no mode {mode!r} of the detector: choose from {', '.join(MODES)}"
        )
    ask = _detector(mode)
    backwards = np.asarray(picture)[..., ::-1]  # rtmlib takes BGR, as OpenCV reads
    places, sure = (np.asarray(found, dtype=float) for found in ask(backwards.copy()))
    people = [
        {"keypoints": np.concatenate([xy, score[:, None]], axis=1).ravel().tolist()}
        for xy, score in zip(places, sure, strict=True)
    ]
    if not people:
        raise ValueError(f"{DETECTOR} found nobody in the picture: give key points as JSON")
    least = CONFIDENCE if confidence is None else confidence
    found = read_text(
        json.dumps(people), person=person, size=(picture.height, picture.width), confidence=least
    )
    reason = f"{DETECTOR} ({mode}) found it"
    return found._replace(reason=reason)


@cache
def _detector(mode: str) -> Any:
    try:
        from rtmlib import Body
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{_MISSING_EXTRA} ({error})") from error
    try:
        return Body(mode=mode, to_openpose=False, backend="onnxruntime", device="cpu")
    except OSError as error:
        raise StorageError(
            f"{DETECTOR}'s weights could not be fetched ({error}): try again, or give key points "
            "as JSON"
        ) from error
