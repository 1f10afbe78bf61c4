"""What the paper's authors published: the names in their files, and how they become our networks.

Nothing here executes what a file says: `torch.load` runs with weights_only=True, always.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfla import view_codes
from gfla.discriminator import Discriminator, TemporalDiscriminator
from gfla.extraction import MotionExtraction
from gfla.model import Model, build
from gfla.storage import CheckpointError

DISCRIMINATORS: dict[tuple[str, bool], Callable[[], nn.Module]] = {  # (task, of clips)
    ("fashion", False): Discriminator,
    ("market", False): lambda: Discriminator(depth=3),
    ("shapenet", False): Discriminator,
    ("face", False): Discriminator,
    ("dance", False): Discriminator,
    ("face", True): lambda: Discriminator(channels=6),
    ("dance", True): TemporalDiscriminator,
}
EXCUSED = {("face", True): "block0."}  # may have another shape: docs/spec.md section 10

# Our names → the published ones (docs/spec.md section 10); # is a level.  The authors number their
# blocks in order of use: encoder0 arrives at level 2 (so level − 2, `down`), the flow's decoder0 at
# level 4 (4 − level, `rise`), the renderer's decoder0 and attn0 start at level 3 (`step`).
_FLOW = (
    ("encoder.1.", "block0."),
    ("encoder.#.", "encoder{down}."),
    ("decoder.#.", "decoder{rise}."),
    ("jump.#.model.2.", "jump{rise}.conv1."),
    ("head.#.flow.", "output{rise}."),
    ("head.#.mask.", "mask{rise}.0."),
)
_ENCODER = (("1.", "block0."), ("#.", "encoder{down}."))
_ATTENTION = ("kernel_net.", "fully_connect_layer.")
_NAMES = (
    *(
        (f"{ours}{inner}", f"{theirs}{outer}")
        for ours, theirs, rows in (
            ("flow.previous.", "flow_net_previous.", _FLOW),
            ("flow.reference.", "flow_net_reference.", _FLOW),
            ("flow.", "flow_net.", _FLOW),
            ("renderer.source_encoder.", "source.", _ENCODER),
            ("renderer.previous_encoder.", "source_previous.", _ENCODER),
            ("renderer.reference_encoder.", "source_reference.", _ENCODER),
            ("renderer.target_encoder.", "target.", _ENCODER),
            ("renderer.attention.#.", "target.attn{step}.", (_ATTENTION,)),
            ("renderer.previous_attention.#.", "target.attn_p{step}.", (_ATTENTION,)),
            ("renderer.reference_attention.#.", "target.attn_r{step}.", (_ATTENTION,)),
        )
        for inner, outer in rows
    ),
    *view_codes.PUBLISHED,
    ("renderer.decoder.#.0.", "target.decoder{step}.0.model.0."),
    ("renderer.decoder.#.1.", "target.decoder{step}.1."),
    ("renderer.output.model.2.", "target.outconv.conv1."),
    ("motion.entrance.", "kp_input.expand_conv."),
    ("motion.entrance_norm.", "kp_input.expand_ln."),
    ("motion.convolutions.#.", "kp_input.layers_conv.{at}."),
    ("motion.norms.#.shared.", "kp_input.layers_ln.{at}.mlp_shared.0."),
    ("motion.norms.#.scale.", "kp_input.layers_ln.{at}.mlp_gamma."),
    ("motion.norms.#.shift.", "kp_input.layers_ln.{at}.mlp_beta."),
    ("motion.summary.#.", "kp_input.feature_conv_{at}."),
    ("motion.exit.", "kp_input.shrink."),
)
_DISCRIMINATOR = (
    ("encoder.1.", "block0."),
    ("encoder.#.", "encoder{down}."),
    ("volume.1.", "block0."),
    ("volume.2.", "block1."),
    ("plane.#.", "encoder{late}."),
    ("score.1.", "conv."),
)


def published_name(name: str) -> str:
    """The name in the authors' files of one of our parameters.

    Args:
        name: from the state_dict of a model of `gfla.model.build` or of a discriminator of
            `gfla.discriminator`; of `gfla.extraction.MotionExtraction` with "motion." before it.

    Returns:
        The published name.

    Raises:
        KeyError: no such name is known.

    >>> published_name("renderer.attention.2.kernel_net.0.weight")
    'target.attn1.fully_connect_layer.0.weight'
    >>> published_name("flow.previous.encoder.1.model.2.bias")
    'flow_net_previous.block0.model.2.bias'
    >>> published_name("encoder.2.shortcut.1.weight")
    'encoder0.shortcut.1.weight_orig'
    """
    for ours, theirs in _NAMES + _DISCRIMINATOR:
        match = re.match(re.escape(ours).replace(r"\#", r"(\d)"), name)
        if match:
            level = int(match[1]) if match.lastindex else 0
            found = theirs.format(
                at=level, down=level - 2, late=level - 3, rise=4 - level, step=3 - level
            )
            found += name[match.end() :]
            spectral = (ours, theirs) in _DISCRIMINATOR and found.endswith(".weight")
            return found + "_orig" if spectral else found
    raise KeyError(f"{name!r} has no published name: give a name from our own state_dict")


def import_published(path_or_state_dict: str | Path | Mapping, task: str = "fashion") -> Model:
    """The whole generator from a file that the paper's authors published.

    Args:
        path_or_state_dict: `…_net_G.pth`, or what is in it.
        task: "fashion", "market", "shapenet", "face" or "dance" (FashionVideo and iPER).

    Returns:
        The model of `gfla.model.build` for this task, in eval mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: the file cannot be read, or keys of docs/spec.md section 10
            are missing or of another shape; the message lists them.
        ValueError: another task.

    A `module.` prefix, extra keys and running statistics are ignored; of the tensors that the
    authors registered under two names, either name will do.
    """
    published = _read(path_or_state_dict)
    model = _empty(lambda: build("full", task))
    _fill(model, published)
    return model.eval()


def import_published_flow(
    path_or_state_dict: str | Path | Mapping, task: str = "fashion"
) -> nn.Module:
    """The flow estimator alone, of a stage-1 file or of a whole generator's.

    Args:
        path_or_state_dict: `…_net_G.pth` of either stage, or what is in it.
        task: as in `import_published`.

    Returns:
        The model's `flow`, in eval mode, on the CPU: from `flow_net.*`, and of the two estimators
        for "dance" from `flow_net_previous.*` and `flow_net_reference.*`.

    Raises:
        FileNotFoundError, gfla.storage.CheckpointError, ValueError: as `import_published`.
    """
    published = _read(path_or_state_dict)
    flow = _empty(lambda: build("full", task).flow)
    _fill(flow, published, prefix="flow.")
    return flow.eval()


def import_published_discriminator(
    path_or_state_dict: str | Path | Mapping, task: str = "fashion", temporal: bool = False
) -> nn.Module:
    """The discriminator from a file that the paper's authors published.

    Args:
        path_or_state_dict: `…_net_D.pth` or `…_net_D_V.pth`, or what is in it.
        task: as in `import_published`.
        temporal: the discriminator of several frames, which "face" and "dance" have: a
            `Discriminator` of six channels, and a `TemporalDiscriminator`.

    Returns:
        The discriminator in eval mode, on the CPU.

    Raises:
        ValueError: another task, or one whose model has no temporal discriminator.
        FileNotFoundError, gfla.storage.CheckpointError: as `import_published`.

    Where the file has no `weight_v`, as files of old PyTorch versions, it is v = Wᵀu / ‖Wᵀu‖. In
    the temporal discriminator for faces the published first block has another shape than the
    published code (docs/spec.md section 10): its layers stay untrained then, and a warning names
    them.
    """
    if (task, temporal) not in DISCRIMINATORS:
        there = sorted(name for name, clips in DISCRIMINATORS if clips == temporal)
        raise ValueError(
            f"there is no task {task!r} with temporal={temporal}: choose one of {there}"
        )
    published = _read(path_or_state_dict)
    with torch.random.fork_rng(devices=[]):  # reading a file shall not move anybody's dice
        discriminator = DISCRIMINATORS[task, temporal]()
    for key in [key for key in published if key.endswith(".weight_orig")]:
        u = published.get(key.replace("_orig", "_u"))
        if key.replace("_orig", "_v") not in published and u is not None:
            v = published[key].flatten(1).mT @ u  # (in·k·k,)
            published[key.replace("_orig", "_v")] = F.normalize(v, dim=0, eps=1e-12)
    _fill(discriminator, published, excused=EXCUSED.get((task, temporal)))
    return discriminator.eval()


def import_published_motion(path_or_state_dict: str | Path | Mapping) -> MotionExtraction:
    """The motion-extraction network from a file that the paper's authors published.

    Args:
        path_or_state_dict: `…_net_G.pth` of the task "keypoint", or what is in it.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError, gfla.storage.CheckpointError: as `import_published`.
    """
    published = _read(path_or_state_dict)
    network = _empty(MotionExtraction)
    _fill(network, published, prefix="motion.")
    return network.eval()


def _empty(make: Callable[[], nn.Module]) -> nn.Module:
    """A network without numbers: those of the file take their place."""
    with torch.device("meta"):
        return make()


def _fill(
    network: nn.Module, published: dict[str, Tensor], prefix: str = "", excused: str | None = None
) -> None:
    """Copy published tensors into a network, or list every one that does not fit.

    Layers whose published name begins with `excused` may have a weight of another shape.
    """
    missing, wrong, found = [], [], {}
    own_state = network.state_dict()
    names = {name: published_name(prefix + name) for name in own_state}
    strange = set()  # excused layers
    for name, key in names.items():
        tensor = published.get(key)
        if tensor is None or not excused or not key.startswith(excused):
            continue
        if tensor.shape != own_state[name].shape:
            strange.add(key.rpartition(".")[0])
    for name, own in own_state.items():
        key = names[name]
        alias = key.replace(".conv1.", ".model.2.")  # registered twice by the authors
        tensor = published.get(key, published.get(alias))
        if key.rpartition(".")[0] in strange:
            found[name] = own
        elif tensor is None:
            missing.append(key)
        elif tensor.shape != own.shape:
            wrong.append(f"{key} {tuple(tensor.shape)}, expected {tuple(own.shape)}")
        else:
            found[name] = tensor.to(own.dtype, copy=True)
    if missing or wrong:
        raise CheckpointError(
            f"the state_dict does not fit: {len(missing)} keys are missing {missing}, "
            f"{len(wrong)} have another shape {wrong}; check that the task is the file's own and "
            "that the download is whole"
        )
    if strange:
        warnings.warn(
            f"{sorted(strange)} have another shape in the file and stay untrained: the scores mean "
            "nothing until they are trained",
            stacklevel=3,
        )
    network.load_state_dict(found, assign=True)


def _read(path_or_state_dict: str | Path | Mapping) -> dict[str, Tensor]:
    """The tensors of a published file by their plain names."""
    content = path_or_state_dict
    if not isinstance(content, Mapping):
        path = Path(path_or_state_dict)
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}: check the name, or download it first")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the loader raises many types; ours is one
            raise CheckpointError(
                f"{path} is not a readable PyTorch file of weights ({error}): download it again"
            ) from error
    if not isinstance(content, Mapping) or not any(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(
            f"expected a state_dict of tensors by name, got {type(content).__name__} without one: "
            "give the authors' …_net_G.pth or …_net_D.pth"
        )
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    return {key.removeprefix("module."): value for key, value in tensors.items()}
