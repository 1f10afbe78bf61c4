"""Does a graph do what its model does, and how fast: ONNX under onnxruntime, or a .pt2, on the CPU.

Both are given the same inputs (`gfla.exchange.signatures.example`), and PyTorch runs the model
eagerly, in the patch-free form.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gfla import meanwhile
from gfla.exchange.parity import TOLERANCE
from gfla.exchange.portable import ExportError, needed, patch_free, silence
from gfla.exchange.signatures import entrance, example
from gfla.model import Model

BATCHES = (1, 2, 5)  # one alone, that of the recording, and another
Graph = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class Difference(NamedTuple):
    """How far one output of a graph is from the model's."""

    batch: int
    output: str
    difference: float  # the largest, absolute
    largest: float  # of the model's own values, absolute
    allowed: float  # pictures, masks and weights 1e-4; flows 1e-4 of the largest

    @property
    def passed(self) -> bool:
        """Whether it is allowed; a difference that is no number is not."""
        return self.difference <= self.allowed


class Speed(NamedTuple):
    """Seconds of process time for one batch, each on one thread: the median of alternating runs."""

    batch: int
    runs: int  # of each, after one that does not count
    graph: float
    eager: float  # PyTorch

    @property
    def ratio(self) -> float:
        """How many times as long PyTorch takes."""
        return self.eager / self.graph


def open_graph(content: bytes | str | Path) -> Graph:
    """A file of `gfla.exchange.portable` as a function from inputs to outputs, by name.

    Args:
        content: the file, or its bytes; what begins like a zip is a .pt2, all else ONNX.

    Returns:
        A function of a dict of tensors; onnxruntime gets one thread, a .pt2 has PyTorch's.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: ONNX, and the extra is not installed.
        ExportError: the bytes are neither.
    """
    name = "the graph"
    if not isinstance(content, bytes):
        name = str(content)
        if not Path(content).is_file():
            raise FileNotFoundError(f"no file {name}: check the name, or export it first")
        content = Path(content).read_bytes()
    if not content.startswith(b"PK"):
        return _session(content, name)
    try:
        with silence():
            module = torch.export.load(io.BytesIO(content)).module()
    except Exception as error:  # a damaged archive raises whatever its reader stumbles over
        raise ExportError(f"{name} is no readable .pt2 ({error}): export it again") from error

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            return module(**inputs)

    return run


def _session(content: bytes, name: str) -> Graph:
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors, which are raised as well
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen types of its own
        raise ExportError(f"{name} is no ONNX that onnxruntime runs ({error}): export it again") \
            from error  # fmt: skip
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = session.run(names, {name: value.numpy() for name, value in inputs.items()})
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    return run


def check(
    content: bytes | str | Path,
    model: Model,
    batches: Sequence[int] = BATCHES,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    inputs: Mapping[str, Tensor] | None = None,
) -> tuple[Difference, ...]:
    """Compare all outputs of a graph with the model's, batch by batch.

    Args:
        content: as `open_graph`.
        model: that the graph was made of.
        batches: numbers of pictures.
        size, frames: that the graph was made for, see `gfla.exchange.portable.to_program`.
        inputs: instead of examples, and of `batches`.

    Returns:
        A Difference for every batch and output; nothing is raised where one is too large.

    Raises:
        FileNotFoundError, ModuleNotFoundError: as `open_graph`.
        ExportError: as there, or the graph takes or gives something else than the model.
    """
    graph, net, found = open_graph(content), entrance(model, frames), []
    given = [inputs] if inputs else [example(model, n, size, frames, seed=n) for n in batches]
    for each in given:
        batch = len(next(iter(each.values())))
        with patch_free(), torch.no_grad():
            wanted = net(**each)
        try:
            got = graph(each)
        except Exception as error:  # of onnxruntime, or of PyTorch's guards
            raise ExportError(
                f"the graph does not take a batch of {batch} of what this model takes ({error}): "
                "give the model, size and frames that it was made for, or export it again"
            ) from error
        if list(got) != list(wanted):
            raise ExportError(f"the graph gives {list(got)}, the model {list(wanted)}")
        found += [_difference(batch, name, got[name], wanted[name]) for name in wanted]
    return tuple(found)


def _difference(batch: int, name: str, got: Tensor, wanted: Tensor) -> Difference:
    if got.shape != wanted.shape:
        raise ExportError(
            f"the graph's {name} is {tuple(got.shape)}, the model's {tuple(wanted.shape)}"
        )
    largest = wanted.abs().max().item()
    allowed = TOLERANCE * (largest if name.startswith("flow") else 1.0)
    return Difference(batch, name, (got - wanted).abs().max().item(), largest, allowed)


def speed(
    content: bytes | str | Path,
    model: Model,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    batch: int = 1,
    runs: int = 5,
) -> Speed:
    """Time a graph and the model in turn, on one thread.

    Args:
        content, model, size, frames: as `check`.
        batch: pictures at once.
        runs: of each.

    Returns:
        Speed of both.

    Raises:
        ValueError: no runs.
        FileNotFoundError, ModuleNotFoundError, ExportError: as `open_graph`.
    """
    if runs < 1:
        raise ValueError(f"runs={runs}: time one or more")
    graph, net = open_graph(content), entrance(model, frames)
    inputs = example(model, batch, size, frames)
    spent: dict[str, list[float]] = {"graph": [], "eager": []}
    with meanwhile.threads(1), patch_free(), torch.no_grad():
        for _ in range(runs + 1):
            for name, run in (
                ("graph", lambda: graph(inputs)),
                ("eager", lambda: net(**inputs)),
            ):
                begin = time.process_time()
                run()
                spent[name].append(time.process_time() - begin)
    medians = {name: statistics.median(times[1:]) for name, times in spent.items()}
    return Speed(batch, runs, **medians)
