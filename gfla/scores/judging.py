"""What a model, or a set of pictures, is worth: every metric of the project, pair by pair.

One rule holds throughout: a result that has a value for each pair is their mean, so that a
bootstrap over pairs estimates what the table shows. Among pictures every pair counts alike. In what
is measured over visible pixels every pixel counts alike, as in `gfla.metrics` and in the training's
log, since a body that turned round may show a dozen of them: there the value of a pair is its own
mean times its number of visible pixels over the mean number, which is its part in the pooled mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from gfla import metrics
from gfla.data import people
from gfla.features import JUDGES, load_features
from gfla.sampling import warp
from gfla.scores import flow_metrics, inception, perceptual, trunks
from gfla.scores.frechet import frechet
from gfla.scores.meanings import METRICS, Metric
from gfla.storage import CheckpointError

if TYPE_CHECKING:
    from gfla.types import Flow, Image, Mask, Output

__all__ = [
    "ENCODERS", "METRICS", "Judgement", "Metric", "PictureJudge", "judge", "judge_images",
]  # fmt: skip

BATCH = 16  # pairs judged together
ENCODERS = JUDGES  # encoders that no loss uses


class Judgement(NamedTuple):
    """What was found."""

    results: dict[str, float]  # keys of METRICS; absent where a model or the disk has no such thing
    pairs: dict[str, list[float]]  # key -> a value for each pair; their mean is the result
    notes: tuple[str, ...] = ()  # what is absent, and why


class PictureJudge:
    """Judges pictures against true ones, batch by batch; of each batch only numbers are kept.

    Args:
        count: how many pairs will come; decides which distances of sets can be estimated.
        encoders: name -> network, for the distances ``{name}_distance`` and ``{name}_frechet``;
            None takes those of `ENCODERS` that are on disk, and notes the others.
        device: where the networks work.

    Raises:
        ValueError: a count below 1.

    >>> judge = PictureJudge(2, encoders={})
    >>> judge.add(torch.zeros(2, 3, 16, 16), torch.full((2, 3, 16, 16), 0.2))
    >>> round(judge.judgement().results["psnr"], 4)
    20.0
    """

    def __init__(
        self,
        count: int,
        encoders: Mapping[str, nn.Module] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if count < 1:
            raise ValueError(f"count is {count}: at least one pair is needed")
        self.count, self.device = count, torch.device(device)
        self._notes: list[str] = []
        self._pairs: dict[str, list[Tensor]] = defaultdict(list)  # key -> (B,) of each batch
        self._sets: dict[str, list[Tensor]] = defaultdict(list)  # key -> (B, 2, C): ours, true
        found = self._own_encoders() if encoders is None else encoders
        self.encoders = {name: network.to(self.device) for name, network in found.items()}
        self._lpips = self._published("lpips", trunks.load_lpips)
        self._inception = None
        if count > inception.FEATURES:
            self._inception = self._published("fid", trunks.load_inception)
        else:
            self._note(f"fid: {count} pairs are too few for its {inception.FEATURES} features")

    def add(self, images: Image, targets: Image, masks: Mask | None = None) -> None:
        """Judge a batch.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            targets: the true pictures, of the same shape and range.
            masks: (B, 1, H, W) in [0, 1], the person in the target; with it the `_foreground`
                metrics are found too. Give it with every batch or with none.

        Raises:
            ValueError: shapes that do not fit, or values outside [-1, 1].
        """
        perceptual.check_pictures(images, targets, masks)
        with _exactly(self.device):
            self._add(images, targets, masks)

    def _add(self, images: Image, targets: Image, masks: Mask | None) -> None:
        regions = {"": None} | ({} if masks is None else {"_foreground": masks})
        for end, mask in regions.items():
            for metric in (metrics.l1, metrics.psnr, metrics.ssim):
                value = metric(images, targets, mask, reduction="pairs")
                self._pairs[metric.__name__ + end].append(value)
        for name, encoder in self.encoders.items():
            seen = [perceptual.taps(x, encoder) for x in (images, targets)]
            for end, mask in regions.items():
                distance = perceptual.tap_distance(*seen, mask)
                self._pairs[f"{name}_distance{end}"].append(distance)
                features = [perceptual.pool(taps, mask) for taps in seen]
                self._sets[f"{name}_frechet{end}"].append(torch.stack(features, 1))
        both = [x.to(self.device) for x in (images, targets)]
        if self._lpips is not None:
            for end, mask in regions.items():
                distance = perceptual.lpips_distances(*both, self._lpips, mask)
                self._pairs["lpips" + end].append(distance)
        if self._inception is not None:
            features = [perceptual.inception_features(x, self._inception) for x in both]
            self._sets["fid"].append(torch.stack(features, 1))

    def judgement(self) -> Judgement:
        """Everything found, in the order of METRICS; notes say what is absent, and why.

        Raises:
            ValueError: other than `count` pairs came, or masks with some batches only.
        """
        if not self._pairs:
            raise ValueError(f"no pair came, {self.count} were expected: add them first")
        notes = list(self._notes)
        values = {name: torch.cat(parts) for name, parts in self._pairs.items()}
        for name, found in values.items():
            if len(found) != self.count:
                raise ValueError(
                    f"{len(found)} pairs came with {name}, {self.count} were expected: add every "
                    "pair, and masks with all batches or with none"
                )
        results = {name: _mean(name, found, notes) for name, found in values.items()}
        for name, parts in self._sets.items():
            ours, theirs = torch.cat(parts).unbind(1)  # (N, C) each
            kept = torch.isfinite(theirs[:, 0])  # not those whose mask is empty
            try:
                results[name] = frechet(ours[kept], theirs[kept])
            except ValueError as error:
                notes.append(f"{name}: {error}")
        pairs = {name: found.tolist() for name, found in values.items()}
        return Judgement(_ordered(results), _ordered(pairs), tuple(notes))

    def _own_encoders(self) -> dict[str, nn.Module]:
        found = {}
        for name in ENCODERS:
            try:
                found[name] = load_features(name)
            except FileNotFoundError:  # whose message names a place on this machine
                self._note(f"{name}_distance, {name}_frechet: the encoder {name!r} is not there")
        return found

    def _published(self, name: str, load: Callable[[], Any]) -> Any:
        """What `load` gives, None if the verified weights are not there."""
        try:
            return load()
        except FileNotFoundError:
            self._note(f"{name}: its published weights are not on this machine")
        except CheckpointError:
            self._note(f"{name}: the weights found under its name have another checksum")
        except ImportError:
            self._note(f"{name}: the package is not installed")
        return None

    def _note(self, text: str) -> None:
        self._notes.append(text)


def judge_images(
    images: Image,
    targets: Image,
    masks: Mask | None = None,
    encoders: Mapping[str, nn.Module] | None = None,
    device: str | torch.device = "cpu",
) -> Judgement:
    """`PictureJudge` for pictures that are at hand as tensors.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        targets: the true pictures, of the same shape and range.
        masks: (B, 1, H, W) in [0, 1], the person in the target; None leaves `_foreground` out.
        encoders, device: as `PictureJudge`.

    Returns:
        Judgement with the metrics of pictures.

    Raises:
        ValueError: shapes that do not fit, or values outside [-1, 1].
    """
    perceptual.check_pictures(images, targets, masks)
    work = PictureJudge(len(images), encoders, device)
    for k in range(0, len(images), BATCH):
        part = slice(k, k + BATCH)
        work.add(images[part], targets[part], None if masks is None else masks[part])
    return work.judgement()


def judge(
    model: nn.Module,
    count: int = 256,
    first: int = people.MEASURING_SEEDS,
    device: str | torch.device | None = None,
    encoders: Mapping[str, nn.Module] | None = None,
) -> Judgement:
    """Every metric of a model on held-out people, whichever of the four models it is.

    Args:
        model: of `gfla.model`, with parameters in float32; left in the mode it was in.
        count: number of pairs, at the model's size.
        first: seed of the first batch of 16 pairs, one of the measuring seeds; the same `first`
            and `count` always give the same pairs.
        device: where to work, and where the model is left; None means where it is.
        encoders: as `PictureJudge`.

    Returns:
        Judgement. Absent are: for the model without attention everything of flow and occlusion;
        the `_attended` metrics unless the model chooses inside a patch; what the notes say.

    Raises:
        ValueError: a seed that belongs to training, a count below 1, or a model not in float32.

    In float32 without TF32 and autocast, in eval mode, with deterministic kernels of cuDNN.
    """
    if first < people.MEASURING_SEEDS:
        raise ValueError(f"first is {first}: measuring seeds begin at {people.MEASURING_SEEDS:,}")
    parameter = next(model.parameters())
    if parameter.dtype != torch.float32:
        raise ValueError(f"the model is in {parameter.dtype}, expected float32: model.float()")
    device = parameter.device if device is None else torch.device(device)
    pictures, truth = PictureJudge(count, encoders, device), _TruthJudge()
    training = model.training
    model.to(device).eval()
    try:
        with _exactly(device):
            for k in range(0, count, BATCH):
                size = min(BATCH, count - k)
                batch = people.pairs(size, size=model.size, seed=first + k, device=device)
                output = model(batch["source"], batch["source_pose"], batch["target_pose"])
                pictures.add(output.image, batch["target"], batch["foreground"])
                truth.add(output, batch)
    finally:
        model.train(training)
    found, measured = pictures.judgement(), truth.judgement()
    return Judgement(
        _ordered(found.results | measured.results),
        _ordered(found.pairs | measured.pairs),
        found.notes,
    )


class _TruthJudge:
    """Judges flows, masks and pictures against the truth that procedural people come with."""

    def __init__(self) -> None:
        self._pairs: dict[str, list[Tensor]] = defaultdict(list)  # key -> (B,) of each batch
        self._masks: list[tuple[Tensor, Tensor, Tensor]] = []  # ours, visible, foreground

    def add(self, output: Output, batch: Mapping[str, Tensor]) -> None:
        """Judge a model's output for a batch of `gfla.data.people.pairs`."""
        self._pairs["pixels"].append(batch["visible"].sum((1, 2, 3)).double().cpu())
        true_warp = warp(batch["source"], batch["flow"])
        pictures = {"ours": output.image, "copy": batch["source"], "warp": true_warp}
        for name, image in pictures.items():
            self._add(name, metrics.l1, image, batch["target"], batch)
        if output.flows:
            flow = output.flows[-1]
            self._add_flow("", flow, batch)
            if output.weights and output.weights[-1].shape[1] > 1:  # more to choose than one tap
                offset = flow_metrics.expected_offset(output.weights[-1])
                self._add_flow("_attended", flow + offset, batch)
            truth = batch["flow"]
            self._add("zero", flow_metrics.endpoint_error, torch.zeros_like(truth), truth, batch)
        if output.masks:
            masks = output.masks[-1], batch["visible"], batch["foreground"]
            self._masks.append(tuple(mask.cpu() for mask in masks))

    def judgement(self) -> Judgement:
        """The score, and what concerns flow and occlusion where there are any."""
        values = {name: torch.cat(parts) for name, parts in self._pairs.items()}
        pixels = values.pop("pixels")
        share = pixels / pixels.mean()  # the mean of share * value is the mean over all pixels
        values = {k: torch.where(pixels > 0, share * v, 0.0) for k, v in values.items()}
        span = values["copy"].mean() - values["warp"].mean()
        found = {"score": (values["ours"] - values["warp"]) / span}  # the mean is ours on the scale
        for end in ("", "_attended"):
            if "flow_error" + end in values:
                for name in ("flow_error", "within_2px"):
                    found[name + end] = values[name + end]
                found["flow_ratio" + end] = values["flow_error" + end] / values["zero"].mean()
        results = {name: float(value.mean()) for name, value in found.items()}
        if self._masks:
            mask, visible, foreground = (torch.cat(parts) for parts in zip(*self._masks))
            scores = flow_metrics.occlusion_scores(mask, visible, where=foreground)
            for name in ("iou", "average_precision", "visible_share"):
                results[f"occlusion_{name}"] = scores[name]
        return Judgement(results, {name: value.tolist() for name, value in found.items()})

    def _add_flow(self, end: str, flow: Flow, batch: Mapping[str, Tensor]) -> None:
        truth = batch["flow"]
        self._add("flow_error" + end, flow_metrics.endpoint_error, flow, truth, batch)
        self._add("within_2px" + end, flow_metrics.share_within, flow, truth, batch)

    def _add(
        self,
        name: str,
        metric: Callable[..., Any],
        ours: Tensor,
        truth: Tensor,
        batch: Mapping[str, Tensor],
    ) -> None:
        self._pairs[name].append(metric(ours, truth, batch["visible"], reduction="pairs"))


@contextmanager
def _exactly(device: torch.device) -> Iterator[None]:
    """Without gradients, in plain float32, by kernels that give the same numbers every time."""
    plain = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.no_grad(), torch.autocast(device.type, enabled=False), plain:
        yield


def _mean(name: str, values: Tensor, notes: list[str]) -> float:
    """Mean of the finite values; if there is none, what there is."""
    finite = values[torch.isfinite(values)]
    if left := len(values) - len(finite):
        notes.append(f"{name}: {left} of {len(values)} pairs left out, not finite")
    return float(finite.mean()) if len(finite) else float(values[0])


def _ordered(found: Mapping[str, Any]) -> dict[str, Any]:
    """In the order of METRICS, then what METRICS does not know."""
    return {name: found[name] for name in [*METRICS, *found] if name in found}
