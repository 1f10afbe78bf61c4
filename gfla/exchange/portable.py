"""A trained generator as one graph that needs none of this code: `torch.export`, and ONNX from it.

    program = to_program(gfla.load("people"))          # torch.export.ExportedProgram, any batch
    content = onnx_bytes(program, {"model": "people"})
    check(content, model)                              # onnxruntime against PyTorch

Height and width are fixed in a graph, the batch is not. What enters and leaves has the names of
`gfla.exchange.signatures`, in both formats.

A graph is always of the patch-free form of `gfla.sampling`, whatever GFLA_BACKEND says, and does
not look at values: pictures outside [-1, 1] and flows that are not finite pass unrefused.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch

from gfla import meanwhile
from gfla.exchange.signatures import entrance, example, fields, told
from gfla.model import Model

NOTES = "gfla.json"  # the file inside a .pt2 that holds the notes
OPSETS = range(18, 24)  # what both PyTorch's converter and onnxruntime know


class ExportError(RuntimeError):
    """A model that could not be made a graph, or a graph that does not do what the model does."""


def to_program(
    model: Model, batch: int = 2, size: tuple[int, int] | None = None, frames: int | None = None
) -> torch.export.ExportedProgram:
    """The generator as a graph of PyTorch's own operators, for batches of any size.

    Args:
        model, frames: as `entrance`.
        batch: of the inputs that the graph is recorded with, 2 or more: for 1, what happens to be
            equal would be taken for what always is.
        size: (H, W) of the pictures, fixed in the graph; None is the model's own.

    Returns:
        The program; `program.module()(**inputs)` gives a dict of outputs by name.

    Raises:
        ValueError: as `entrance`; a batch below 2, or a size that the model does not take.
        ExportError: the model does something that a graph cannot say.

    >>> from gfla.model import GFLA
    >>> model = GFLA((8, 16), {1: 3}, flow_depth=2, base=4, depth=1, attention="global")
    >>> program = to_program(model)
    >>> output = program.module()(**example(model, batch=3))
    >>> {name: tuple(value.shape) for name, value in output.items()}
    {'image': (3, 3, 8, 16), 'flow_1': (3, 2, 4, 8), 'mask_1': (3, 1, 4, 8)}
    """
    if batch < 2:
        raise ValueError(f"batch={batch}: record the graph with two or more, it takes any then")
    net = entrance(model, frames)
    inputs = example(model, batch, size, frames)
    with patch_free(), torch.no_grad():
        net(**inputs)  # refuses a wrong size in the model's own words
        free = {name: {0: torch.export.Dim("batch")} for name in inputs}
        try:
            with silence():
                program = torch.export.export(
                    net, (), inputs, dynamic_shapes=free, strict=False
                )  # fmt: skip
        except Exception as error:  # the tracer raises dozens of types; ours says which model
            raise ExportError(
                f"this {type(model).__name__} cannot be made a graph ({error}): see what in its "
                "forward depends on the batch or on values"
            ) from error
    _forget_places(program)
    return program


def pt2_bytes(program: torch.export.ExportedProgram, notes: Mapping[str, Any]) -> bytes:
    """The file of a program, which `torch.export.load` reads.

    Args:
        program: of `to_program`.
        notes: anything JSON can hold, kept in the file under the name `NOTES`.

    Returns:
        The bytes of a .pt2.
    """
    file = io.BytesIO()
    with silence():
        torch.export.save(program, file, extra_files={NOTES: json.dumps(notes)})
    return file.getvalue()


def onnx_bytes(
    program: torch.export.ExportedProgram, notes: Mapping[str, Any], opset: int = 18
) -> bytes:
    """The file of a program as ONNX, weights and all.

    Args:
        program: of `to_program`.
        notes: anything JSON can hold, kept in the file's metadata, each entry as JSON.
        opset: version of the operators.

    Returns:
        The bytes of an .onnx that `onnx.checker` accepts.

    Raises:
        ModuleNotFoundError: the extra is not installed.
        ValueError: an opset that is not in `OPSETS`.
        ExportError: an operator without a counterpart.
    """
    if opset not in OPSETS:
        raise ValueError(f"opset={opset}: choose one from {OPSETS[0]} to {OPSETS[-1]}")
    onnx = needed("onnx", "onnxscript")
    inputs, outputs = fields(program)
    try:
        with silence():
            made = torch.onnx.export(
                program, dynamo=True, verbose=False, opset_version=opset,
                input_names=[field.name for field in inputs],
                output_names=[field.name for field in outputs],
                dynamic_shapes={field.name: {0: "batch"} for field in inputs},
                custom_translation_table=_translations(),
            )  # fmt: skip
    except Exception as error:  # as above
        raise ExportError(f"the graph cannot be written as ONNX ({error})") from error
    for node in made.model.graph.all_nodes():  # where in the code of this machine it comes from
        for key in [key for key in node.metadata_props if key != "namespace"]:
            del node.metadata_props[key]
    graph = made.model.graph
    for value, field in zip([*graph.inputs, *graph.outputs], inputs + outputs, strict=True):
        value.doc_string = told(field)
    made.model.metadata_props.update({name: json.dumps(value) for name, value in notes.items()})
    made.model.doc_string = "\n".join(told(field) for field in inputs + outputs)
    proto = made.model_proto
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


def _translations() -> dict:
    """What PyTorch's own translation to ONNX does slowly, or onnxruntime imprecisely."""
    aten = torch.ops.aten
    bags = (aten.embedding_bag.padding_idx, aten.embedding_bag.default)
    return {**dict.fromkeys(bags, _bag), aten.instance_norm.default: _norm}


def _bag(
    weight, indices, offsets=None, scale_grad_by_freq=False, mode=0, sparse=False,
    per_sample_weights=None, include_last_offset=False, padding_idx=-1,
):  # fmt: skip
    """The weighted sum of taps that all sampling is, for all positions at once.

    All bags are of one size. PyTorch's own translation loops over them, one by one: several times
    slower.
    """
    from onnxscript import opset18 as op

    by_position = op.Concat(op.Shape(offsets), op.Constant(value_ints=[-1]), axis=0)
    taps = op.Gather(weight, op.Reshape(indices, by_position))  # (N, taps, C)
    coefficients = op.Reshape(per_sample_weights, by_position)  # (N, taps)
    one = op.Constant(value_ints=[1])
    summed = op.MatMul(op.Unsqueeze(coefficients, one), taps)  # (N, 1, C)
    return op.Squeeze(summed, one), offsets, offsets, offsets  # nobody asks for the last three


def _norm(
    input, weight=None, bias=None, running_mean=None, running_var=None, use_input_stats=True,
    momentum=0.1, eps=1e-5, cudnn_enabled=True,
):  # fmt: skip
    """Instance norm by means of rows, then of columns.

    onnxruntime's own adds a whole picture up in one go, in float32, and what that loses is then
    amplified by everything behind it: enough to miss 1e-4 with random weights at 256×256.
    """
    from onnxscript import opset18 as op

    def mean(maps):
        rows = op.ReduceMean(maps, op.Constant(value_ints=[3]))
        return op.ReduceMean(rows, op.Constant(value_ints=[2]))  # (B, C, 1, 1)

    centred = op.Sub(input, mean(input))
    variance = mean(op.Mul(centred, centred))
    spread = op.Sqrt(op.Add(variance, op.Constant(value_float=eps)))
    places = op.Constant(value_ints=[1, 2])
    scale = op.Div(op.Unsqueeze(weight, places), spread)
    return op.Add(op.Mul(centred, scale), op.Unsqueeze(bias, places))


def patch_free() -> AbstractContextManager[None]:
    """Let "auto" mean the patch-free form in stock PyTorch, whatever the environment says."""
    return meanwhile.environment("GFLA_BACKEND", "fast")


@contextmanager
def silence() -> Iterator[None]:
    """Keep back what the exporters say of their own progress and of their own old code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def needed(*names: str) -> Any:
    """Import the modules of the extra "export"; the first is returned."""
    import importlib

    try:
        first, *_ = [importlib.import_module(name) for name in names]
        return first
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"ONNX needs {' and '.join(names)} ({error}): pip install 'gfla[export]'"
        ) from error


def _forget_places(program: torch.export.ExportedProgram) -> None:
    """Drop the stack of every node: it names the folders of this machine."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
