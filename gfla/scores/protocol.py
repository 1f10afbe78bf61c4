"""How much of a published number is the model, and how much the way it was scored.

One set of generated pictures and their targets is scored under the field's different conventions:
how the ground truth was brought to the network's size, in which files the pictures lay, which part
of them is looked at, which variant of a metric, which real pictures they are held against. Every
row of `matrix` changes ONE thing against the reference, except the one that says "together".

The reference: the ground truth shrunk by a bilinear filter with antialiasing, both pictures rounded
to bytes and kept without loss, the whole picture, SSIM with a Gaussian window and a data range of
1, Fréchet distances to the targets of the very pairs.

What a convention changes depends on the pictures. Ours are small: JPEG works in blocks of 8 pixels,
which at 64 pixels are four times as large a share of a person as at the paper's 256.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gfla import ledger, metrics
from gfla.data import people
from gfla.features import load_features
from gfla.model import GFLA
from gfla.scores import inception, perceptual
from gfla.scores.conventions import REFERENCE, Measure, Row, Scene, rows, unpublished
from gfla.scores.frechet import frechet
from gfla.scores.judging import ENCODERS
from gfla.scores.resaving import resize

if TYPE_CHECKING:
    import pandas

    from gfla.types import Image

RUN = "protocol"  # its name in the ledger
COUNT = 200  # pairs: three of the authors' batches and a rest, and half of them still a Fréchet
# The ground truth is drawn so many times larger; DeepFashion's 1101 x 750 pixels become 256 x 256.
# At an odd whole number all filters without antialiasing would pick the same middle pixel.
SHRINK = 3.5
BATCH = 16  # pairs drawn, and looked at, at a time


def matrix(
    scene: Scene, measures: Mapping[str, Measure], progress: bool = False
) -> pandas.DataFrame:
    r"""Score one set of pictures under every convention.

        change = v / v_reference − 1,   gaps = change / (v_Bi-Sample / v_Full − 1 in the paper)

    A relative change of another distance over other pictures is not the paper's number, so "gaps"
    is a yardstick and no more: from one gap on, a convention that two papers do not share could
    turn round what one of them concludes.

    Args:
        scene: pictures in [-1, 1]; H and W multiples of 16 where an encoder of ours measures.
        measures: by name, in the order of the columns. Those named "psnr" and "ssim" have
            conventions of their own; the change of "psnr" is in decibels.
        progress: show a bar.

    Returns:
        One row a convention, `REFERENCE` first. Columns: group; every measure; "<measure> change";
        "<measure> gaps" where the paper has such a gap; note. Not a number where a convention does
        not touch a measure, and where it could not be measured: then the note says why.

    Raises:
        ValueError: shapes that do not fit, or no measures.

    >>> scene = Scene(torch.zeros(2, 3, 64, 64), torch.full((2, 3, 64, 64), 0.4))
    >>> frame = matrix(scene, {"l1": Measure(metrics.l1)})
    >>> frame.loc["reference", "l1"].round(2), frame.loc["ground truth as JPEG 95 4:4:4", "group"]
    (np.float64(0.2), 'files')
    """
    import pandas
    from tqdm.auto import tqdm

    _check(scene, measures)
    table = []
    for row in tqdm(rows(scene, measures), disable=not progress or None, unit=" conventions"):
        values, note = _score(row, measures if row.measures is None else row.measures)
        table.append({"convention": row.name, "group": row.group, **values, "note": note})
    columns = ["group", *measures, "note"]
    frame = pandas.DataFrame(table).set_index("convention").reindex(columns=columns)
    for name, measure in measures.items():
        first = frame.loc[REFERENCE, name]
        difference = frame[name] - first
        frame[f"{name} change"] = difference if name == "psnr" else difference / first
        if measure.paper:
            frame[f"{name} gaps"] = frame[f"{name} change"] / measure.gap
    return frame[[name for name in frame if name != "note"] + ["note"]]


def _score(row: Row, measures: Mapping[str, Measure]) -> tuple[dict[str, float], str]:
    """The values of one row, and what is to be said about them."""
    if row.images is None or row.targets is None:
        return {}, row.note
    number = min(len(row.images), len(row.targets))
    able = {name: one for name, one in measures.items() if number >= one.least}
    values = {name: one.score(row.images, row.targets) for name, one in able.items()}
    unable = [name for name in measures if name not in able]
    few = [f"{number} pictures are too few for {', '.join(unable)}"] if unable else []
    return values, "; ".join(filter(None, (row.note, *few)))


def _check(scene: Scene, measures: Mapping[str, Measure]) -> None:
    shape = tuple(scene.images.shape)
    if len(shape) != 4 or shape[1] != 3 or scene.targets.shape != scene.images.shape:
        raise ValueError(
            f"images {shape} and targets {tuple(scene.targets.shape)} must be (B, 3, H, W) alike"
        )
    if scene.originals is not None and len(scene.originals) != shape[0]:
        raise ValueError(f"{len(scene.originals)} originals for {shape[0]} targets: one each")
    if scene.foreground is not None and scene.foreground.shape != (shape[0], 1, *shape[2:]):
        raise ValueError(
            f"foreground is {tuple(scene.foreground.shape)}, expected {(shape[0], 1, *shape[2:])}"
        )
    if not measures:
        raise ValueError("no measures: give at least one, for instance Measure(gfla.metrics.l1)")


# What to score, and with what


class Onlooker:
    """Both distances over one encoder, from one look at the pictures.

    Args:
        encoder: network with the call of `gfla.features.VGG19`.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = encoder
        self._last: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None = None

    def distance(self, images: Image, targets: Image) -> float:
        """`gfla.scores.perceptual.encoder_distance`, the mean over pairs."""
        return float(self._look(images, targets)[0].mean())

    def frechet(self, images: Image, targets: Image) -> float:
        """`gfla.scores.perceptual.encoder_frechet`."""
        if len(images) == len(targets):
            return frechet(*self._look(images, targets)[1:])
        pooled = (
            [perceptual.pool(self._see(part)) for part in x.split(BATCH)] for x in (images, targets)
        )
        return frechet(*(torch.cat(parts) for parts in pooled))

    def _look(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Distances of the pairs, and mean features of both sides."""
        if self._last is None or self._last[0] is not images or self._last[1] is not targets:
            found = []
            for pair in zip(images.split(BATCH), targets.split(BATCH)):
                ours, true = (self._see(part) for part in pair)
                distance = perceptual.tap_distance(ours, true)
                found.append((distance, perceptual.pool(ours), perceptual.pool(true)))
            self._last = images, targets, *(torch.cat(parts) for parts in zip(*found))
        return self._last[2:]

    def _see(self, images: Tensor) -> dict[str, Tensor]:
        return perceptual.taps(images, self.encoder)


def measures(device: str | torch.device = "cpu") -> tuple[dict[str, Measure], list[str]]:
    """All measures that this disk allows.

    Returns:
        them by name, and a line for each that is missing.
    """
    found = {name: Measure(getattr(metrics, name)) for name in ("l1", "psnr", "ssim")}
    notes = []
    for name in ENCODERS:
        try:
            encoder = load_features(name).to(device)
        except FileNotFoundError:  # whose message names a place on this machine
            notes.append(f"{name}_distance, {name}_frechet: the encoder {name!r} is not there")
            continue
        eyes = Onlooker(encoder)
        features = perceptual.pool(perceptual.taps(torch.zeros(1, 3, 32, 32), encoder)).shape[1]
        found[f"{name}_distance"] = Measure(eyes.distance, "lpips")
        found[f"{name}_frechet"] = Measure(eyes.frechet, "fid", of_sets=True, least=features + 1)
    if absent := unpublished("alex"):
        notes.append(f"lpips: {absent}")
    else:
        found["lpips"] = Measure(perceptual.lpips, "lpips")
    if absent := unpublished("inception"):
        notes.append(f"fid: {absent}")
    else:
        least = inception.FEATURES + 1
        found["fid"] = Measure(perceptual.fid, "fid", of_sets=True, least=least)
    return found, notes


@torch.no_grad()
def people_scene(
    model: GFLA, count: int = COUNT, device: str | torch.device = "cpu", progress: bool = False
) -> Scene:
    """What a model draws of held-out people, whose ground truth is drawn large and then shrunk.

    Args:
        model: in eval mode.
        count: pairs.
        device: where the model is.
        progress: show bars.

    Returns:
        the scene; its other sets, drawn large and shrunk alike, are the sources of the pairs (real
        pictures of the same people, but they face the viewer more often than the targets do), other
        held-out people, and people whom a model may train on, `count` pictures each.
    """
    images, foreground = [], []
    for number, seed in _batches(count, people.MEASURING_SEEDS):
        drawn = people.pairs(number, size=model.size, seed=seed)
        poses = (drawn[key].to(device) for key in ("source", "source_pose", "target_pose"))
        images.append(model(*poses).image.cpu().float())
        foreground.append(drawn["foreground"])
    sources, originals = _large(model.size, count, people.MEASURING_SEEDS, "true", progress)
    elsewhere = people.MEASURING_SEEDS + 10 * count
    others = _large(model.size, count, elsewhere, "others", progress)[1]
    trained = _large(model.size, count, 0, "trained on", progress)[1]
    sets = {
        "the sources of the pairs": resize(sources, model.size),
        "as many other held-out people": resize(others, model.size),
        "as many people of the training seeds": resize(trained, model.size),
    }
    targets = resize(originals, model.size)
    return Scene(torch.cat(images), targets, originals, torch.cat(foreground), sets)


def _large(
    size: tuple[int, int], count: int, first: int, what: str, progress: bool
) -> tuple[Tensor, Tensor]:
    """Sources and targets before they are shrunk."""
    from tqdm.auto import tqdm

    factor = min(SHRINK, 512 / max(size))  # people are drawn up to 512 pixels
    large = tuple(round(factor * side) for side in size)
    sources, targets = [], []
    with tqdm(total=count, desc=f"drawing, {what}", disable=not progress or None) as bar:
        for number, seed in _batches(count, first):
            drawn = people.pairs(number, size=large, seed=seed)
            sources.append(drawn["source"])
            targets.append(drawn["target"])
            bar.update(number)
    return torch.cat(sources), torch.cat(targets)


def _batches(count: int, first: int) -> list[tuple[int, int]]:
    """How many pairs, and from which seed on."""
    return [(min(BATCH, count - k), first + k) for k in range(0, count, BATCH)]


def show(frame: pandas.DataFrame) -> str:
    """A matrix as Markdown: the reference's values, and what every convention changes of them.

    Args:
        frame: as `matrix` gives it.

    Returns:
        One text. "+12 % (+0.8)" is a change of 12 % of the reference, or 0.8 of the paper's gap
        between Bi-Sample and Full; psnr changes in dB; empty = not touched or not measured. Below
        the table every note, with the rows that it is about.
    """
    names = [name for name in frame if f"{name} change" in frame]
    table = [["convention", *names]]
    notes: dict[str, list[str]] = {}
    for convention, row in frame.iterrows():
        cells = [_cell(frame, convention, name) for name in names]
        if any(cells):
            table.append([str(convention), *cells])
        if row["note"]:
            notes.setdefault(str(row["note"]), []).append(str(convention))
    lines = [f"{note}: {_some(about)}" for note, about in notes.items()]
    return ledger.table(table) + "".join(f"\n{line}" for line in lines) + "\n"


def _some(names: list[str]) -> str:
    return f"{len(names)} of the rows" if len(names) > 6 else "; ".join(names)


def _cell(frame: pandas.DataFrame, convention: str, name: str) -> str:
    value, change = (frame.loc[convention, column] for column in (name, f"{name} change"))
    if math.isnan(value):
        return ""
    if convention == REFERENCE:
        return f"{value:.4g}"
    if name == "psnr":
        return f"{change:+.2f} dB"
    gaps = f" ({frame.loc[convention, f'{name} gaps']:+.1f})" if f"{name} gaps" in frame else ""
    return f"{100 * change:+.1f} %{gaps}"


def record(frame: pandas.DataFrame, about: Mapping[str, Any], device: Any = "cpu") -> Path:
    """Keep a matrix in the ledger as the run "protocol".

    Args:
        frame: as `matrix` gives it.
        about: what was scored: model, pairs, …
        device: where.
    """
    names = [name for name in frame if f"{name} change" in frame]
    first = {name: float(frame.loc[REFERENCE, name]) for name in names}
    return ledger.write_run(RUN, first, dict(about), device=device, table=plain(frame))


def plain(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """A matrix as rows that JSON can hold; not a number becomes null."""
    return json.loads(frame.reset_index().to_json(orient="records", double_precision=15))


def recorded() -> pandas.DataFrame:
    """The matrix that `record` kept, as `matrix` gave it.

    Raises:
        FileNotFoundError: none is recorded.
    """
    import pandas

    frame = pandas.DataFrame(ledger.read(RUN)["table"]).set_index("convention")
    numbers = [name for name in frame if name not in ("group", "note")]
    return frame.astype(dict.fromkeys(numbers, float))
