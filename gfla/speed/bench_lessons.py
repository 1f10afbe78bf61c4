"""What notebook 08 looks at live: which pixels one position reads, what is kept, who is faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gfla.profiles import pick
from gfla.sampling import local_attention
from gfla.speed import rivals, timing
from gfla.speed.rivals import FAST, LITERAL, Size


@dataclass(frozen=True)
class Setting:
    """How much a profile does live."""

    channels: int  # of the forms that race
    side: int
    n: int
    batch: int
    turns: int  # of each form

    @property
    def raced(self) -> Size:
        """The size that races."""
        return Size(self.channels, self.side, self.n, self.batch)


SETTINGS = {
    "smoke": Setting(64, 32, 5, 1, 5),
    "cpu": Setting(128, 64, 5, 1, 5),
    "gpu": Setting(128, 64, 5, 4, 9),
}


def setting(profile: str) -> Setting:
    """The sizes of one profile; see `gfla.profiles.pick`."""
    return pick(SETTINGS, profile)


def coefficients(source: Tensor, flow: Tensor, place: tuple[int, int], n: int, form: str) -> Tensor:
    """By how much each pixel of the source enters one position of the result, if all taps of the
    patch weigh the same: the gradient.

    Args:
        source: (1, 1, H, W); its values do not matter.
        flow: (1, 2, h, w) in pixels.
        place: (x, y) of the position.
        n: side of the patch.
        form: "literal" or "fast".

    Returns:
        (H, W), with sum 1: the division by n² is undone.

    >>> coefficients(torch.zeros(1, 1, 1, 5), torch.zeros(1, 2, 1, 5), (2, 0), 3, "literal")
    tensor([[0.0000, 0.3333, 0.3333, 0.3333, 0.0000]])
    """
    even = torch.zeros(1, 2, n, n), torch.zeros(1), torch.zeros(n * n, 1, 1, 1), torch.zeros(n * n)
    known = source.detach().requires_grad_()
    target = torch.zeros(1, 1, *flow.shape[-2:])
    attended = local_attention(known, target, flow, *even, n, backend=rivals.BACKENDS[form])[0]
    (gradient,) = torch.autograd.grad(attended[0, 0, place[1], place[0]], known)
    return n * n * gradient[0, 0]


def kept(size: Size) -> dict[str, float]:
    """What each form keeps for its backward pass, in units of the source features' bytes.

    Args:
        size: of features and patch.

    Returns:
        {"literal", "fast": how many times f_s}; the same on every machine.
    """
    forms = rivals.operator(size)
    found = {}
    for name in (LITERAL, FAST):
        given = forms[name].learned
        found[name] = timing.saved_bytes(forms[name].run, given) / given[0].nbytes
    return found


def errors(size: Size) -> dict[str, float]:
    """How far our form is from the literal one, of the largest value of each.

    Args:
        size: of features and patch; the flow reaches in and far out of the picture.

    Returns:
        {"result", and the gradient by "source", "target", "flow", "first layer", "second layer"}.
    """
    forms = rivals.operator(size)
    made: dict[str, list[Tensor]] = {}
    for name in (LITERAL, FAST):
        form = forms[name]
        result = form.run()
        learned = [form.learned[place] for place in (0, 1, 2, 3, 5)]
        made[name] = [result.detach(), *torch.autograd.grad(result, learned, form.upstream)]
    names = "result", "source", "target", "flow", "first layer", "second layer"
    pairs = zip(made[LITERAL], made[FAST], strict=True)
    return {
        name: float((ours - literal).abs().max() / literal.abs().max())
        for name, (literal, ours) in zip(names, pairs, strict=True)
    }


def race(size: Size, turns: int) -> Mapping[str, float]:
    """How many times faster our form is than the literal one, and how near to its convolutions.

    Args:
        size: of features and patch.
        turns: of each form; they alternate, and the median counts.

    Returns:
        "literal / ours" and "ours / floor", forward and backward together.
    """
    forms = rivals.operator(size)
    calls = {name: partial(rivals.passes, form, "cpu") for name, form in forms.items()}
    times = {name: found["both"] for name, found in timing.alternate(calls, turns).items()}

    def middle(above: str, below: str) -> float:
        return timing.quartiles([a / b for a, b in zip(times[above], times[below])])[1]

    return {
        "literal / ours": middle(LITERAL, FAST),
        "ours / floor": middle(FAST, rivals.CONVOLUTIONS),
    }
