"""How steady a clip is: frames in, numbers out, for the batch or clip by clip.

A single frame cannot tell whether a moving picture is steady. What is measured here is how the
frames follow each other, along the true motion (`warp_error`, `flicker`) and where they stand
(`jitter`), and whether the error grows from frame to frame (`growth`). All values are shares of
the value range, as `gfla.metrics.l1`. Nothing gives a gradient, and no loss, early stop or choice
of a shipped model may use any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gfla.metrics import l1
from gfla.sampling import warp
from gfla.scores.averages import plain, weighted_mean

if TYPE_CHECKING:
    from jaxtyping import Float

    Frames = Float[Tensor, "B T 3 H W"]
    Flows = Float[Tensor, "B T 2 H W"]
    Masks = Float[Tensor, "B T 1 H W"]

REDUCTIONS = {"batch": "batch", "clips": "pairs"}  # ours -> what `gfla.scores.averages` calls it


@torch.no_grad()
def warp_error(
    frames: Frames, previous_flow: Flows, visible: Masks, reduction: str = "batch"
) -> float | Tensor:
    """How much a clip changes as one goes with the true motion.

        E_w = ½ Σ_t≥1 Σ_l v_t(l) |x̂_t(l) − x̂_t−1(l + w_t(l))| / Σ_t≥1 Σ_l v_t(l)

    mean over the channels. The truth itself is above 0: surfaces turn, and reading between pixels
    blurs. And a blurred clip is below the truth. So see it beside the truth's own.

    Args:
        frames: (B, T, 3, H, W) in [−1, 1], T ≥ 2.
        previous_flow: (B, T, 2, H, W) true flow w_t, frame t → frame t−1, in pixels; that of frame
            0 is not used.
        visible: (B, T, 1, H, W) weight v_t of each position of frame t that is also seen in frame
            t−1; that of frame 0 is not used.
        reduction: "batch" pools the pixels of all clips; "clips" gives (B,) values, nan where
            nothing is visible.

    Returns:
        0 … 1, a share of the value range; lower is steadier.

    Raises:
        ValueError: shapes that do not fit, too few frames, values outside [−1, 1], or nothing
            visible at all.

    Source: the warping error of Lai et al. 2018, "Learning blind video temporal consistency", with
    the true flow in place of an estimated one, and |·| in place of its square.

    >>> ramp = torch.arange(4.0).expand(1, 2, 3, 4, 4) / 4
    >>> right = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1).expand(1, 2, 2, 4, 4)
    >>> inside = torch.ones(1, 2, 1, 4, 4)
    >>> inside[..., 3] = 0  # the last column comes from beyond the border
    >>> warp_error(ramp, right, inside)  # ½ · ¼: the ramp stands while the flow says it moves
    0.125
    """
    kind = _reduction(reduction)
    _check(frames, 2, previous_flow=(previous_flow, 2), visible=(visible, 1))
    followed = _followed(frames, previous_flow)
    return l1(_stack(frames[:, 1:]), _stack(followed), _stack(visible[:, 1:]), kind)


@torch.no_grad()
def flicker(
    frames: Frames,
    truth: Frames,
    previous_flow: Flows,
    visible: Masks,
    reduction: str = "batch",
) -> float | Tensor:
    """How much more than the truth a clip changes as one goes with the true motion.

        ½ Σ_t≥1 Σ_l v_t(l) [ |c_t(x̂)(l)| − |c_t(x)(l)| ]₊ / Σ_t≥1 Σ_l v_t(l),
        c_t(x)(l) = x_t(l) − x_t−1(l + w_t(l))

    |·| is the mean over the channels. c follows a point of a surface: it is zero for what goes
    along with the surface, however wrong, such as a shirt of another colour. The truth has some,
    because surfaces turn and reading between pixels blurs; only what is beyond it at the same pixel
    counts. So zero for the truth, and σ/√π for normal noise of deviation σ on a still scene, new in
    every frame.

    Why not |c(x̂) − c(x)|, the change of the error? A blurred picture, steady as it may be, lacks
    the truth's shimmer and would be charged for that: on clips of 64×64, plain grey more than
    visible noise (a test shows it).

    What it cannot tell: a frozen picture of a moving scene slides over the scene's surfaces and is
    charged for it, though nothing in it trembles (its `jitter` is zero); and what trembles less
    than the truth changes there anyway is not seen.

    Args:
        frames: (B, T, 3, H, W) in [−1, 1], T ≥ 2.
        truth: the true frames x_t, of the same shape and range.
        previous_flow: (B, T, 2, H, W) true flow, frame t → frame t−1, in pixels.
        visible: (B, T, 1, H, W) weight v_t of each position, as `warp_error`.
        reduction: "batch" pools the pixels of all clips; "clips" gives (B,) values, nan where
            nothing is visible.

    Returns:
        0 and up, a share of the value range; lower is better.

    Raises:
        ValueError: as `warp_error`.

    Source: this project.

    >>> truth, flow, seen = torch.zeros(1, 2, 3, 4, 4), torch.zeros(1, 2, 2, 4, 4), torch.ones(1)
    >>> seen = seen.expand(1, 2, 1, 4, 4)
    >>> flicker(truth + 0.5, truth, flow, seen)  # wrong, and steady
    0.0
    >>> flicker(truth + torch.tensor([0.5, -0.5])[:, None, None, None], truth, flow, seen)
    0.5
    """
    kind = _reduction(reduction)
    _check(frames, 2, truth=(truth, 3), previous_flow=(previous_flow, 2), visible=(visible, 1))
    _check_range(frames=frames, truth=truth)
    ours, theirs = (
        (plain(x[:, 1:]) - _followed(x, previous_flow)).abs().mean(2) for x in (frames, truth)
    )
    beyond = (ours - theirs).clamp(min=0) / 2  # (B, T-1, H, W)
    return weighted_mean(beyond.flatten(1, 2), _stack(visible[:, 1:]), kind)


@torch.no_grad()
def jitter(
    frames: Frames, truth: Frames, mask: Masks | None = None, reduction: str = "batch"
) -> float | Tensor:
    """How much more than the truth a clip trembles where it stands; no flow is needed.

        ½ mean over t, l of [ |d_t(x̂)(l)| − |d_t(x)(l)| ]₊ ,   d_t(x) = x_t+1 − 2 x_t + x_t−1

    |·| is the mean over the channels. The second difference in time is zero where nothing changes
    and where something fades evenly, and largest for what comes and goes. The truth has some, where
    edges pass; only what is beyond it at the same pixel counts. So zero for the truth and for a
    frozen picture, and √(3/π) σ for normal noise of deviation σ on a still scene.

    What it cannot tell: an edge that passes at the wrong place or time from one that trembles.
    There `flicker` is better; `jitter` is it where the scene stands, as the background does.

    Args:
        frames: (B, T, 3, H, W) in [−1, 1], T ≥ 3.
        truth: the true frames x_t, of the same shape and range.
        mask: (B, T, 1, H, W) weight of each position of the middle frame; None weighs all alike.
        reduction: "batch" pools the pixels of all clips; "clips" gives (B,) values, nan where
            the mask is empty.

    Returns:
        0 and up, a share of the value range per frame²; lower is better.

    Raises:
        ValueError: as `warp_error`.

    Source: this project.

    >>> truth = torch.zeros(1, 3, 3, 2, 2)
    >>> blink = torch.tensor([0.0, 0.5, 0.0]).view(1, 3, 1, 1, 1)
    >>> jitter(truth + blink, truth), jitter(truth, truth + blink)
    (0.5, 0.0)
    """
    kind = _reduction(reduction)
    _check(frames, 3, truth=(truth, 3), **({} if mask is None else {"mask": (mask, 1)}))
    _check_range(frames=frames, truth=truth)
    ours, theirs = (plain(x).diff(n=2, dim=1).abs().mean(2) for x in (frames, truth))
    beyond = (ours - theirs).clamp(min=0) / 2  # (B, T-2, H, W)
    middle = None if mask is None else _stack(mask[:, 1:-1])
    return weighted_mean(beyond.flatten(1, 2), middle, kind)


@torch.no_grad()
def growth(
    frames: Frames, truth: Frames, mask: Masks | None = None, reduction: str = "batch"
) -> Tensor:
    """The error by the number of the frame: does a model that goes on from its own frames drift?

        g_t = ½ Σ_l m_t(l) |x̂_t(l) − x_t(l)| / Σ_l m_t(l),   t = 0 … T−1

    Args:
        frames: (B, T, 3, H, W) in [−1, 1].
        truth: the true frames, of the same shape and range.
        mask: (B, T, 1, H, W) weight of each position; None weighs all alike.
        reduction: "batch" pools the pixels of all clips; "clips" keeps the clips apart.

    Returns:
        (T,), or (B, T) for "clips", nan where the mask is empty; float64, a share of the value
        range. A model that does not drift is level, if the clips are as hard late as early: see it
        beside the growth of a model that knows no previous frame.

    Raises:
        ValueError: as `warp_error`.

    >>> truth = torch.zeros(1, 3, 3, 2, 2)
    >>> growth(truth + torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1, 1), truth).tolist()
    [0.0, 0.25, 0.5]
    """
    kind = _reduction(reduction)
    _check(frames, 1, truth=(truth, 3), **({} if mask is None else {"mask": (mask, 1)}))
    by_frame = [
        torch.as_tensor(
            l1(frames[:, t], truth[:, t], None if mask is None else mask[:, t], kind),
            dtype=torch.float64,
        )
        for t in range(frames.shape[1])
    ]
    return torch.stack(by_frame, -1)


@torch.no_grad()
def clip_scores(frames: Frames, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Everything that is told of generated clips, clip by clip, beside what needs no model.

    Args:
        frames: (B, T, 3, H, W) in [−1, 1], T ≥ 3.
        batch: of `gfla.data.motion.clips`: frames, reference, reference_flow, reference_visible,
            previous_flow, previous_visible.

    Returns:
        name -> (B,) float64, shares of the value range, all lower is better:
        l1 over all pixels; l1_visible over those that the reference shows; copy_l1 and warp_l1
        over the same, of the reference left in place and warped by the true flow; warp_error, and
        truth_warp_error of the true frames, over pixels that the previous frame shows; flicker,
        over the same; jitter over all pixels. For the means of all clips, or a bootstrap over
        them: nan stands where a clip shows nothing of its reference or of its previous frame.

    Raises:
        ValueError: as `warp_error`.
    """
    truth, seen = batch["frames"], batch["reference_visible"]
    flow, kept = batch["previous_flow"], batch["previous_visible"]
    _check(frames, 3, truth=(truth, 3), reference_visible=(seen, 1))
    still = batch["reference"][:, None].expand_as(truth)
    warped = warp(still.flatten(0, 1), batch["reference_flow"].flatten(0, 1)).view_as(truth)
    over = {"all": None, "seen": _stack(seen)}

    def error(clip: Tensor, where: str) -> Tensor:
        return l1(_stack(clip), _stack(truth), over[where], "pairs")

    return {
        "l1": error(frames, "all"),
        "l1_visible": error(frames, "seen"),
        "copy_l1": error(still, "seen"),
        "warp_l1": error(warped, "seen"),
        "warp_error": warp_error(frames, flow, kept, "clips"),
        "truth_warp_error": warp_error(truth, flow, kept, "clips"),
        "flicker": flicker(frames, truth, flow, kept, "clips"),
        "jitter": jitter(frames, truth, reduction="clips"),
    }


def _followed(frames: Tensor, previous_flow: Tensor) -> Tensor:
    """w_t x_t−1 for t ≥ 1: every frame but the last, moved to where the next one is."""
    earlier, flow = plain(frames[:, :-1]), plain(previous_flow[:, 1:])
    return warp(earlier.flatten(0, 1), flow.flatten(0, 1)).unflatten(0, earlier.shape[:2])


def _stack(clip: Tensor) -> Tensor:
    """(B, T, C, H, W) as one tall picture for each clip, (B, C, T·H, W)."""
    return clip.transpose(1, 2).flatten(2, 3)


def _reduction(name: str) -> str:
    if name not in REDUCTIONS:
        raise ValueError(f"reduction is {name!r}: choose one of {', '.join(REDUCTIONS)}")
    return REDUCTIONS[name]


def _check(frames: Tensor, least: int, **others: tuple[Tensor, int]) -> None:
    """Refuse what is not (B, T, C, H, W) of the frames' own B, T, H and W."""
    shape = tuple(frames.shape)
    if frames.ndim != 5 or shape[2] != 3 or shape[1] < least:
        raise ValueError(
            f"frames must be (B, T, 3, H, W) with at least {least} frames, got {shape}"
        )
    for name, (tensor, channels) in others.items():
        wanted = (*shape[:2], channels, *shape[3:])
        if tuple(tensor.shape) != wanted:
            raise ValueError(
                f"{name} must be {wanted} to go with the frames, got {tuple(tensor.shape)}"
            )


def _check_range(**clips: Tensor) -> None:
    for name, clip in clips.items():
        low, high = (float(v) for v in clip.aminmax())
        if not (low >= -1.001 and high <= 1.001):  # resampling and half precision round
            raise ValueError(f"{name} must lie in [-1, 1], got {low:.4g} … {high:.4g}: rescale it")
