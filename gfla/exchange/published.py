"""What the paper's authors published, and how it becomes our networks.

Nothing here executes what a file says: `gfla.exchange.pickled` reads it with weights_only=True,
always. The names are in `gfla.exchange.published_names`, the networks in `gfla.exchange.layouts`;
`gfla.exchange.importing` turns a file into one of our own, with a report.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from gfla.exchange import pickled
from gfla.exchange.fitting import fill, fit
from gfla.exchange.layouts import DISCRIMINATORS, KEYPOINT, network, recognise
from gfla.exchange.published_names import published_name
from gfla.extraction import MotionExtraction
from gfla.model import Model

__all__ = [
    "DISCRIMINATORS",
    "import_published",
    "import_published_discriminator",
    "import_published_flow",
    "import_published_motion",
    "imported",
    "published_name",
    "recognise",
]


def imported(path_or_state_dict: str | Path | Mapping, task: str | None, part: str) -> nn.Module:
    """One network from a file that the paper's authors published.

    Args:
        path_or_state_dict: the file, or what is in it.
        task: as in `gfla.exchange.layouts.network`; None asks the names in the file.
        part: of `gfla.exchange.layouts.PARTS`.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError, gfla.storage.CheckpointError, ValueError: as `import_published`.
    """
    net = None if task is None else network(task, part)  # first of all: is there such a task?
    tensors = pickled.read(path_or_state_dict).tensors
    if net is None:
        task = recognise(tensors, part=part).task
        net = network(task, part)
    fitted = fit(net, task, part, tensors)
    fill(net, fitted, tensors, (task, part))
    if fitted.untrained:
        warnings.warn(
            f"{list(fitted.untrained)} have another shape in the file and stay untrained: the "
            "scores mean nothing until they are trained",
            stacklevel=3,
        )
    return net


def import_published(
    path_or_state_dict: str | Path | Mapping, task: str | None = "fashion"
) -> Model:
    """The whole generator from a file that the paper's authors published.

    Args:
        path_or_state_dict: `…_net_G.pth`, or what is in it.
        task: "fashion", "market", "shapenet" (cars and chairs), "face" or "dance" (FashionVideo and
            iPER); None finds it out from the names in the file.

    Returns:
        The model of `gfla.model.build` for this task, in eval mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        gfla.storage.CheckpointError: the file cannot be read, or keys of docs/spec.md section 10
            are missing, of another shape or not finite; the message lists them, and says which
            network the file seems to be of.
        ValueError: another task.

    A `module.` prefix, extra keys and running statistics are ignored; of the tensors that the
    authors registered under two names, either name will do.
    """
    return imported(path_or_state_dict, task, "generator")


def import_published_flow(
    path_or_state_dict: str | Path | Mapping, task: str | None = "fashion"
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
    return imported(path_or_state_dict, task, "flow")


def import_published_discriminator(
    path_or_state_dict: str | Path | Mapping, task: str | None = "fashion", temporal: bool = False
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
    part = "temporal" if temporal else "discriminator"
    return imported(path_or_state_dict, task, part)


def import_published_motion(path_or_state_dict: str | Path | Mapping) -> MotionExtraction:
    """The motion-extraction network from a file that the paper's authors published.

    Args:
        path_or_state_dict: `…_net_G.pth` of the task "keypoint", or what is in it.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError, gfla.storage.CheckpointError: as `import_published`.
    """
    return imported(path_or_state_dict, KEYPOINT, "motion")
