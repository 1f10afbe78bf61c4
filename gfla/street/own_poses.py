"""One pose in every order that files have, the usual mistakes with it, and a stranger who takes it.

The experiments of notebook 09 about key points: each is made from a pose that is known, so that
what is read, suspected or put right can be judged.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gfla.data import keypoints as kp
from gfla.data import pasting, posing
from gfla.data.pose_files import AUTHORS, FORMATS
from gfla.data.pose_formats import MEDIAPIPE, MEDIAPIPE_33
from gfla.data.pose_repairs import REPAIRS
from gfla.data.posing import Pose
from gfla.photos.repainting import Repainted
from gfla.street import moves

# (x, y) of what can be seen in the portrait that comes with matplotlib, marked by hand
_MARKED = {
    "nose": (262, 230), "neck": (256, 388),
    "right_shoulder": (84, 404), "left_shoulder": (442, 400),
    "right_eye": (228, 190), "left_eye": (306, 186),
    "right_ear": (172, 215), "left_ear": (367, 205),
}  # fmt: skip


def portrait() -> tuple[Path, str]:
    """A photograph that this project did not make, and its key points as JSON.

    Commodore Grace M. Hopper, official portrait of the U.S. Navy, in the public domain; matplotlib
    brings it along. It shows head and shoulders, so ten of the eighteen joints are missing.

    Returns:
        The file, and OpenPose's JSON.
    """
    from matplotlib.cbook import get_sample_data

    path = Path(get_sample_data("grace_hopper.jpg", asfileobj=False))
    with Image.open(path) as picture:
        size = picture.height, picture.width
    pose = Pose(tuple(_MARKED.get(joint) for joint in kp.OPENPOSE_18), size)
    return path, written(pose, "OpenPose-18")


def written(pose: Pose, order: str, name: str = "person.jpg") -> str:
    """A pose as a detector or a data set would write it.

    Args:
        pose: in pixels of its canvas.
        order: of FORMATS.
        name: of the picture, for the authors' CSV.

    Returns:
        The text of a file. What the order has and a pose has not, such as toes, is missing in it.

    Raises:
        ValueError: another order.

    >>> nose = Pose(((5.0, 7.5), *[None] * 17), (64, 48))
    >>> written(nose, "the authors' CSV").splitlines()[1][:15]
    'person.jpg: [8,'
    """
    if order not in FORMATS:
        raise ValueError(f"no format {order!r}: choose one of {', '.join(FORMATS)}")
    there = dict(zip(kp.OPENPOSE_18, pose.points, strict=True))
    height, width = pose.size
    if order == AUTHORS:
        ys, xs = ([round(p[axis]) if p else -1 for p in pose.points] for axis in (1, 0))
        return f"name:keypoints_y:keypoints_x\n{name}: {ys}: {xs}\n"
    if order == MEDIAPIPE:
        landmarks = [
            {"x": (p[0] + 0.5) / width, "y": (p[1] + 0.5) / height, "visibility": 1.0}
            if (p := there.get(joint))
            else {"x": 0.0, "y": 0.0, "visibility": 0.0}
            for joint in MEDIAPIPE_33
        ]
        return json.dumps({"pose_landmarks": landmarks})
    numbers: list[float] = []
    for joint in pasting.ORDERS[order]:
        point = there.get(joint)
        numbers += [round(point[0], 3), round(point[1], 3), 1] if point else [0, 0, 0]
    if order == "COCO-17":
        return json.dumps({"keypoints": numbers})
    people = [{"pose_keypoints_2d": numbers}]
    return json.dumps({"people": people, "canvas_height": height, "canvas_width": width})


def order_of(order: str) -> tuple[str, ...]:
    """Names of the joints of a format of FORMATS, in the order in which a file lists them."""
    return MEDIAPIPE_33 if order == MEDIAPIPE else pasting.ORDERS.get(order, kp.OPENPOSE_18)


def farthest(one: Pose, other: Pose) -> tuple[float, str]:
    """The joint at which two poses differ most: pixels, its name; of those that both have."""
    apart = [
        (math.dist(a, b), joint)
        for joint, a, b in zip(kp.OPENPOSE_18, one.points, other.points, strict=True)
        if a and b
    ]
    return max(apart)


def mistakes(pose: Pose) -> dict[str, Pose]:
    """The usual mistakes, made with a pose whose right reading is known.

    Args:
        pose: of a person who faces us.

    Returns:
        What was done -> the pose that comes of it.
    """
    coco = [*pasting.ORDERS["COCO-17"], "neck"]
    return {
        "y before x": REPAIRS["swap axes"].undo(pose),
        "COCO's order": Pose(tuple(pose[joint] for joint in coco), pose.size),
        "sides of the body": REPAIRS["swap sides of the body"].undo(pose),
        "y from below": REPAIRS["turn upside down"].undo(pose),
        "another canvas": Pose(pose.points, (1101, 750)),
    }


def stranger(pose: Pose, taller: float = 2.0, arms: float = 1.2) -> Pose:
    """Somebody else in the very same pose: larger, and with longer forearms.

    Args:
        pose: of the one.
        taller: how many of the other's pixels are one of theirs.
        arms: their forearms over those of somebody who is only larger.

    Returns:
        A pose on a canvas `taller` times as large.
    """
    size = tuple(round(taller * side) for side in pose.size)
    made = Pose(tuple(p and (taller * p[0], taller * p[1]) for p in pose.points), size)
    for side in ("right", "left"):
        elbow, wrist = made[f"{side}_elbow"], made[f"{side}_wrist"]
        if elbow and wrist:
            longer = tuple(e + arms * (w - e) for e, w in zip(elbow, wrist, strict=True))
            made = posing.moved(made, f"{side}_wrist", longer, stretch=True)
    return made


# ---------------------------------------------------------------- a photograph


class OwnPose(NamedTuple):
    """What a model makes of the pose that the picture has already."""

    error: float  # mean difference from the picture over the person, as a share of the range
    flat: float  # the same of one colour, the person's own mean


def own_pose(made: Repainted, reach: float = 3.0) -> OwnPose:
    """Compare with the only right answer that a single photograph has: itself.

    Args:
        made: repainted in the pose of the source.
        reach: what counts as the person, pixels of the canvas around the bones.

    Returns:
        The error, beside that of a picture in which nothing is left but the mean colour.
    """
    near = moves.distance(made.box.size, made.source_pose) <= reach
    shown = np.asarray(made.canvas, dtype=float)[near] / 255  # (N, 3)
    painted = made.output.image[0].permute(1, 2, 0).double().numpy()[near]
    off = np.abs((painted + 1) / 2 - shown).mean()
    return OwnPose(float(off), float(np.abs(shown - shown.mean(axis=0)).mean()))
