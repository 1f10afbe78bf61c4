"""Train the project's own encoders: which source position shows what this target position shows?

Of kind "truth" (people) or "objects", it is the only training in the project that reads true
correspondences; of kind "augmentation", it sees one picture and the same picture bent by
`gfla.augment`, and no truth. At each of the three strides whose features judge a flow, every
visible target position must pick its source position out of all positions of the same picture:

    L = −(1/N) Σ_l Σ_l' q(l' | l) log softmax_l'( cos(v_s^l', v_t^l) / τ )

q is a small Gaussian around the true position rather than a single cell, so that similarity falls
off smoothly around the truth: a flow that is nearly right must feel where better lies.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from gfla import journal, storage
from gfla.augment import twins
from gfla.checkpoint import load_state, save_state
from gfla.data import objects, people
from gfla.encoder import FILE, OUT, WIDTHS, SmallEncoder, save_encoder
from gfla.streams import people_seed

STATE = journal.STATE
LEVELS = {1: "relu2_1", 2: "relu3_1", 3: "relu4_1"}  # level (stride 2^level): tap


class Truth(NamedTuple):
    """Where target positions of one level come from."""

    source: Tensor  # (N, 2) x, y of the source position, in positions of the level
    batch: Tensor  # (N,) picture
    cell: Tensor  # (N,) row-major index of the target position
    visible: Tensor  # (N,) boolean: on the person (else on the background, which weighs less)


def truth(batch: dict[str, Tensor], level: int, background: int = 16) -> Truth:
    """Visible target positions of a level and their sources; every `background`-th background
    position stands for the rest, because a wall is where it was.

    Args:
        batch: of `people.pairs`.
        level: stride is 2^level pixels.
        background: one in this many background positions is taken.
    """
    middle = _middle(level)
    visible = batch["visible"][:, 0, middle, middle] > 0
    empty = batch["foreground"][:, 0, middle, middle] == 0
    wanted = visible | (empty & _sparse(visible, background))
    return _gather(batch["flow"], level, wanted, visible)


def made(batch: dict[str, Tensor], level: int, background: int = 16) -> Truth:
    """Busy target positions of a level and where we bent them from; every `background`-th other
    position stands for the rest. No truth about people is read.

    Args:
        batch: of `augment.twins`.
        level: stride is 2^level pixels.
        background: one in this many quiet positions is taken.
    """
    middle = _middle(level)
    inside = batch["inside"][:, 0, middle, middle] > 0
    busy = batch["busy"][:, 0, middle, middle] > 0
    return _gather(batch["flow"], level, inside & (busy | _sparse(busy, background)), busy)


def _middle(level: int) -> slice:
    """The pixels in the middle of the positions of a level."""
    return slice(2**level // 2, None, 2**level)


def _sparse(like: Tensor, every: int) -> Tensor:
    """(h, w) boolean: one in `every` positions of a map (B, h, w)."""
    height, width = like.shape[1:]
    number = torch.arange(height * width, device=like.device).view(height, width)
    return number * 7 % every == 0


def _gather(flow: Tensor, level: int, wanted: Tensor, visible: Tensor) -> Truth:
    middle = _middle(level)
    flow = flow[..., middle, middle] / 2**level  # (B, 2, h, w)
    b, y, x = wanted.nonzero(as_tuple=True)
    here = torch.stack((x, y), 1).to(flow)
    cell = y * wanted.shape[2] + x
    return Truth(here + flow[b, :, y, x], b, cell, visible[b, y, x])


class Kind(NamedTuple):
    """What an encoder learns from."""

    pairs: Callable[..., dict[str, Tensor]]  # (batch, size, seed) -> pairs, made anew at each step
    places: Callable[[dict[str, Tensor], int], Truth]  # of these pairs, at a level
    judged: Callable[..., dict[str, Tensor]]  # pairs with their truth that it is measured on


def _bent(batch: int, size: tuple[int, int], seed: int) -> dict[str, Tensor]:
    """Source pictures of procedural people and nothing else about them, each with a bent twin."""
    return twins(people.pairs(batch, size=size, seed=seed)["source"], seed)


KINDS = {
    "truth": Kind(people.pairs, truth, people.pairs),
    "augmentation": Kind(_bent, made, people.pairs),
    "objects": Kind(objects.pairs, truth, objects.pairs),
}


def contrastive(source: Tensor, target: Tensor, at: Truth, temperature: float, blur: float):
    """The loss above for one level.

    Args:
        source, target: features (B, C, h, w). at: N positions and where they come from.
        temperature: τ. blur: deviation of q in positions.

    Returns:
        scalar.
    """
    height, width = source.shape[2:]
    keys = F.normalize(source.flatten(2), dim=1)  # (B, C, hw)
    queries = F.normalize(target.flatten(2), dim=1)[at.batch, :, at.cell]  # (N, C)
    loss = queries.new_zeros(())
    weight = torch.where(at.visible, 1.0, 0.25)
    x = torch.arange(width, device=source.device)
    y = torch.arange(height, device=source.device)
    for b in range(len(source)):  # one picture at a time: its positions are the choices
        mine = at.batch == b
        logits = queries[mine] @ keys[b] / temperature  # (n, hw)
        spot = at.source[mine]
        column = torch.exp(-((x - spot[:, :1]) ** 2) / (2 * blur**2))  # (n, w)
        row = torch.exp(-((y - spot[:, 1:]) ** 2) / (2 * blur**2))  # (n, h)
        near = (row[:, :, None] * column[:, None]).flatten(1)  # (n, hw)
        near = near / near.sum(1, keepdim=True).clamp(min=1e-6)
        loss = loss - ((near * logits.log_softmax(1)).sum(1) * weight[mine]).sum()
    return loss / weight.sum()


@torch.no_grad()
def nearest_match(
    encoder: nn.Module, count: int = 64, size=(64, 64), seed=30_500_000, pairs=people.pairs
) -> dict[str, float]:
    """How wrong the best match over all positions is, as a share of zero flow's error.

    Args:
        encoder: gives the taps of `LEVELS`.
        count, size, seed: of the held-out pairs.
        pairs: where they come from, `people.pairs` or `objects.pairs`.

    Returns:
        {"level1": …, "level2": …, "level3": …}: mean distance in pixels between the most similar
        source position and the true one over visible target positions, divided by the mean length
        of the true flow there. 0 is perfect, 1 as bad as assuming that nothing moved.
    """
    wrong, moved = dict.fromkeys(LEVELS, 0.0), dict.fromkeys(LEVELS, 0.0)
    for first in range(0, count, 16):
        batch = pairs(min(16, count - first), size=size, seed=seed + first)
        source = encoder(batch["source"], list(LEVELS.values()))
        target = encoder(batch["target"], list(LEVELS.values()))
        for level, tap in LEVELS.items():
            at = truth(batch, level)
            keys = F.normalize(source[tap].flatten(2), dim=1)  # (B, C, hw)
            queries = F.normalize(target[tap].flatten(2), dim=1)[at.batch, :, at.cell]
            width = source[tap].shape[3]
            best = torch.einsum("nc,ncl->nl", queries, keys[at.batch]).argmax(1)
            found = torch.stack((best % width, best // width), 1)
            start = torch.stack((at.cell % width, at.cell // width), 1)
            wrong[level] += float((found - at.source).norm(dim=1)[at.visible].sum())
            moved[level] += float((start - at.source).norm(dim=1)[at.visible].sum())
    return {f"level{level}": wrong[level] / moved[level] for level in LEVELS}


def fit_encoder(
    out: str | Path, steps: int = 3000, batch: int = 16, size: tuple[int, int] = (64, 64),
    lr: float = 2e-3, temperature: float = 0.06, seed: int = 50, save_every: int = 500,
    until: int | None = None, kind: str = "truth", widths: Sequence[int] = WIDTHS,
    out_widths: Sequence[int] = OUT,
) -> SmallEncoder:  # fmt: skip
    """Train an encoder, or go on where it was stopped, bit for bit on a CPU.

    Args:
        out: folder of the run: config.json, state.pt, log.jsonl and encoder.safetensors.
        steps: optimiser steps; the learning rate falls linearly to 0 at the last.
        batch, size: pairs per step and their (H, W).
        lr: AdamW's step after 100 steps of warm-up. temperature: τ.
        seed: of the weights and of the people, 0 to 99.
        save_every: steps between saved states, which are measured by `nearest_match`.
        until: stop, saved, after this step.
        kind: "truth" (true correspondences of procedural people), "objects" (of objects), or
            "augmentation" (one picture of a person and the same picture bent; no truth is read,
            except by `nearest_match`, to measure).
        widths, out_widths: of `SmallEncoder`, multiples of 8.

    Raises:
        ValueError: an unknown kind, widths that do not divide by 8, or a folder whose run has
            another recipe.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: choose from {', '.join(KINDS)}")
    if odd := [width for width in (*widths, *out_widths) if width < 8 or width % 8]:
        raise ValueError(f"widths {odd} are no multiples of 8, the groups of the encoder's norms")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    recipe = {
        "kind": kind, "seed": seed, "steps": steps, "batch": batch, "size": list(size), "lr": lr,
        "temperature": temperature, "widths": list(widths), "out_widths": list(out_widths),
    }  # fmt: skip
    _keep(recipe, out / journal.CONFIG)
    torch.manual_seed(seed)
    encoder = SmallEncoder(widths, out_widths)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=lr, weight_decay=1e-4)
    first, spent = _resume(out, encoder, optimizer)
    last, clock = min(steps, until or steps), time.perf_counter() - spent
    bar = tqdm(range(first, last), initial=first, total=steps, desc="encoder", disable=None)
    for step in bar:
        rate = lr * min(1.0, (step + 1) / 100) * (1 - step / steps)
        pair = KINDS[kind].pairs(batch, size=size, seed=people_seed(seed, step))
        loss = _step(encoder, optimizer, pair, rate, temperature, KINDS[kind].places)
        done = step + 1
        saves = done % save_every == 0 or done == last
        if done % 100 == 0 or saves:
            spent = round(time.perf_counter() - clock, 1)
            row = {"step": done, "loss": loss, "seconds": spent}
            bar.set_postfix(loss=f"{loss:.3f}")
            if saves:
                found = nearest_match(encoder, size=size, pairs=KINDS[kind].judged)
                row |= {f"nearest_match_{level}": value for level, value in found.items()}
                facts = {"seconds": spent}
                save_state(out / STATE, {"encoder": encoder}, {"encoder": optimizer}, done, facts)
            journal.append(out / journal.LOG, row)
    save_encoder(out / FILE, encoder)
    return encoder


def _step(
    encoder: SmallEncoder, optimizer: torch.optim.Optimizer, pair: dict[str, Tensor],
    rate: float, temperature: float, places: Callable[[dict[str, Tensor], int], Truth],
) -> float:  # fmt: skip
    """One step down the sum of the three levels' losses; its value."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    pictures = torch.cat((pair["source"], pair["target"]))
    with torch.autocast(pictures.device.type, torch.bfloat16):  # 1.6 times as fast on a CPU
        both = encoder(pictures, list(LEVELS.values()))
    loss = torch.zeros(())
    for level, tap in LEVELS.items():
        source, target = both[tap].float().chunk(2)
        blur = 0.35 + 0.35 * (3 - level)  # positions: 2 to 3 pixels at every level
        loss = loss + contrastive(source, target, places(pair, level), temperature, blur)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _keep(recipe: dict[str, Any], path: Path) -> None:
    """Write down how a run is made, and refuse to go on with a run that was made otherwise."""
    before = storage.read_json(path) if path.exists() else recipe
    if differ := [f"{k}: {before.get(k)!r} then, {v!r} now" for k, v in recipe.items()
                  if before.get(k) != v]:  # fmt: skip
        raise ValueError(
            f"{path.parent} holds another run ({'; '.join(differ)}): name a new folder"
        )
    storage.write_json(path, recipe)


def _resume(
    out: Path, encoder: SmallEncoder, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Steps done and seconds spent; the log forgets what came after the saved state."""
    if not (out / STATE).exists():
        return 0, 0.0
    state = load_state(out / STATE, {"encoder": encoder}, {"encoder": optimizer})
    journal.rewind(out / journal.LOG, state.step)
    return state.step, state.config.get("seconds", 0.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m gfla encoder`."""
    parser.add_argument("--out", required=True, help="folder of the run; an old run goes on")
    parser.add_argument("--steps", type=int, default=3000, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=16, help="pairs per step")
    parser.add_argument("--seed", type=int, default=50, help="0 to 99")
    words = "learn from true correspondences, or from one picture and its bent twin"
    parser.add_argument("--kind", choices=list(KINDS), default="truth", help=words)
    words = "channels of blocks 1 to 5, multiples of 8"
    parser.add_argument("--widths", type=int, nargs=5, default=WIDTHS, metavar="C", help=words)
    words = "channels of relu2_1, relu3_1 and relu4_1, multiples of 8"
    parser.add_argument("--out-widths", type=int, nargs=3, default=OUT, metavar="C", help=words)


def main(args: argparse.Namespace) -> int:
    """Train the encoder as the shell asked."""
    fit_encoder(
        args.out, steps=args.steps, batch=args.batch, seed=args.seed, kind=args.kind,
        widths=args.widths, out_widths=args.out_widths,
    )  # fmt: skip
    return 0
