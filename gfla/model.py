"""The whole model, F then G, and the ways to get one: `build` untrained, `load` trained."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gfla import bytes8, storage
from gfla.animation import Animation
from gfla.attention import WAYS
from gfla.flow import FlowEstimator, NoFlow
from gfla.inputs import check_shapes, check_values
from gfla.renderer import Renderer
from gfla.types import Image, Output, Pose
from gfla.views import AppearanceFlow, Views

PATCHES = {2: 5, 3: 3}  # the paper's side n of the attended patch by level, for 256×256


class GFLA(nn.Module):
    """Global flow, local attention: a person in a new pose, painted with the source's texture.

    (w, m) = F(x_s, p_s, p_t)   and   x̂_t = G(x_s, p_t, w, m)

    Args:
        size: (H, W) of the pictures it is meant for; others work if they fit the depth.
        kernel_sizes: {level: n}, where attention looks and the side of its patch.
        image_channels, pose_channels: 3 colours, 18 heat maps.
        flow_base, flow_cap, flow_depth: widths and halvings of the flow estimator.
        base, cap, depth: widths and halvings of the renderer.
        hidden: width of the kernel net inside the attention.
        attention: the way the source enters the target: "full", "bilinear", "global" or
            "baseline". The last two have no flow estimator; their source encoder is given the
            source's pose, which F would know.
        mask_start: the value that every mask begins with.
        true_colors: leave the norms out of the source encoder's first block.

    Returns (forward): Output of image, flows, masks and weights.

    Raises:
        ValueError: an unknown attention, levels beyond the depth; (forward) shapes that do not
            fit each other or the depth.
        TypeError: (forward) something else than tensors of floating-point numbers.

    The defaults are the paper's DeepFashion model of 14,047,395 parameters.

    >>> model = GFLA((32, 32), {1: 3}, flow_base=4, flow_depth=3, base=4, depth=2, hidden=4)
    >>> pose = torch.zeros(1, 18, 32, 32)
    >>> output = model(torch.zeros(1, 3, 32, 32), pose, pose)
    >>> output.image.shape, output.flows[0].shape
    (torch.Size([1, 3, 32, 32]), torch.Size([1, 2, 16, 16]))
    """

    def __init__(
        self,
        size: tuple[int, int] = (256, 256),
        kernel_sizes: Mapping[int, int] | None = None,
        image_channels: int = 3,
        pose_channels: int = 18,
        flow_base: int = 32,
        flow_cap: int = 256,
        flow_depth: int = 5,
        base: int = 64,
        cap: int = 512,
        depth: int = 3,
        hidden: int = 128,
        attention: str = "full",
        mask_start: float = 0.5,
        true_colors: bool = False,
    ) -> None:
        super().__init__()
        if attention not in WAYS:
            raise ValueError(f"attention is {attention!r}: choose one of {sorted(WAYS)}")
        kernel_sizes = PATCHES if kernel_sizes is None else kernel_sizes
        # JSON, through which these arguments travel with the weights, knows text keys only
        kernel_sizes = {int(level): int(n) for level, n in dict(kernel_sizes).items()}
        self.size = (int(size[0]), int(size[1]))
        self.arguments = {
            "size": self.size,
            "kernel_sizes": kernel_sizes,
            "image_channels": image_channels,
            "pose_channels": pose_channels,
            "flow_base": flow_base,
            "flow_cap": flow_cap,
            "flow_depth": flow_depth,
            "base": base,
            "cap": cap,
            "depth": depth,
            "hidden": hidden,
            "attention": attention,
            "mask_start": mask_start,
            "true_colors": true_colors,
        }
        way = WAYS[attention]
        self.flow = NoFlow()
        if way.guided:
            self.flow = FlowEstimator(
                image_channels, pose_channels, flow_base, flow_cap, flow_depth,
                tuple(kernel_sizes), mask_start,
            )  # fmt: skip
        self.renderer = Renderer(
            image_channels,
            pose_channels,
            base,
            cap,
            depth,
            kernel_sizes,
            hidden,
            way,
            true_colors,
            mask_start,
        )

    def forward(self, source: Image, source_pose: Pose, target_pose: Pose) -> Output:
        self._check_shapes(source, source_pose, target_pose)
        flows, masks = self.flow(source, source_pose, target_pose)
        known = source if self.renderer.guided else torch.cat([source, source_pose], 1)
        return Output(*self.renderer(known, target_pose, flows, masks))

    @torch.no_grad()
    def render(self, source: Image, source_pose: Pose, target_pose: Pose) -> Image:
        """The source person in the target pose, without gradients.

        Args:
            source: (B, 3, H, W) in [-1, 1].
            source_pose, target_pose: (B, 18, H, W) heat maps.

        Returns:
            image (B, 3, H, W) in [-1, 1].

        Raises:
            TypeError, ValueError: what `forward` refuses, values that are not finite, or a source
                outside [-1, 1].
        """
        self._check_shapes(source, source_pose, target_pose)
        poses = {"source_pose": source_pose, "target_pose": target_pose}
        check_values({"source": source}, poses)
        return self(source, source_pose, target_pose).image

    def _check_shapes(self, source: Tensor, source_pose: Tensor, target_pose: Tensor) -> None:
        arguments = self.arguments
        inputs = {
            "source": (source, arguments["image_channels"]),
            "source_pose": (source_pose, arguments["pose_channels"]),
            "target_pose": (target_pose, arguments["pose_channels"]),
        }
        check_shapes(inputs, 2 ** max(arguments["flow_depth"], arguments["depth"]), self.size)


Model = GFLA | Views | AppearanceFlow | Animation
KINDS = {kind.__name__: kind for kind in (GFLA, Views, AppearanceFlow, Animation)}
TASKS = {  # the paper's models, beside what is their class's default
    "fashion": (GFLA, {}),
    "market": (GFLA, {"size": (128, 64), "kernel_sizes": {2: 3}}),
    "shapenet": (Views, {}),
    "face": (Animation, {"pose_channels": 16, "flows": "one"}),
    "dance": (Animation, {}),
}


def build(name: str = "full", task: str = "fashion") -> Model:
    """An untrained model at the paper's size.

    Args:
        name: "full", or one of the ablation: "bilinear", "global", "baseline". These are as much
            wider as makes up for the parts that they lack, see `even`. The last two are not there
            for "face" and "dance".
        task: "fashion" (DeepFashion, 256×256), "market" (Market-1501, 128×64), "shapenet" (objects
            from another side), "face" or "dance" (clips), each 256×256.

    Returns:
        The model, in training mode, initialised as docs/spec.md 4.9 says.

    Raises:
        ValueError: another name or task; the message lists what there is.

    >>> for task in TASKS:
    ...     with torch.device("meta"):  # shapes alone
    ...         print(f"{task:8} {parameters(build('full', task)):,}")
    fashion  14,047,395
    market   12,926,471
    shapenet 14,341,323
    face     16,906,667
    dance    23,510,195
    """
    if name not in WAYS:
        raise ValueError(f"there is no model {name!r}: choose one of {sorted(WAYS)}")
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}: choose one of {sorted(TASKS)}")
    kind, arguments = TASKS[task]
    return kind(**even(arguments | {"attention": name}, kind))


def parameters(model: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in model.parameters())


def even(arguments: Mapping[str, Any], kind: type[nn.Module] = GFLA) -> dict[str, Any]:
    """The same arguments with a renderer as wide as makes the model as large as the full one.

    A model without flow estimator would be about half as large, and a comparison with it would
    compare sizes. The renderer's `base` grows in steps of 4, `cap` with it, to the number of
    parameters that is nearest; the flow estimator, where there is one, stays as it is.

    Args:
        arguments: of `kind`; "attention" names the way.
        kind: class of the model.

    Returns:
        Arguments of `kind`, those of "full" unchanged.

    Raises:
        ValueError: a way that this class does not have.

    >>> even({"attention": "bilinear"})
    {'attention': 'bilinear', 'base': 72, 'cap': 576}
    """
    arguments = dict(arguments)
    name = arguments.get("attention", "full")
    if name == "full":
        return arguments
    defaults = inspect.signature(kind).parameters
    base = arguments.get("base", defaults["base"].default)
    cap = arguments.get("cap", defaults["cap"].default)

    def count(base_: int, name: str) -> int:
        wide = {"base": base_, "cap": base_ * cap // base, "attention": name}
        with torch.device("meta"):  # shapes alone: no memory, no dice
            return parameters(kind(**arguments | wide))

    wanted = count(base, "full")
    wider = base
    while count(wider + 4, name) < wanted:
        wider += 4
    best = min((wider, wider + 4), key=lambda b: abs(count(b, name) - wanted))
    return arguments | {"base": best, "cap": best * cap // base}


def load(name: str = "people") -> Model:
    """The trained model that ships with the project under this name.

    Args:
        name: of a file in `data/weights`, without its ending: "people", "views", "video", …

    Returns:
        The model in eval mode, on the CPU.

    Raises:
        ValueError: no such model is shipped; the message lists those that are.
        FileNotFoundError: the manifest knows the file, and the file is not there.
        gfla.storage.CheckpointError: the file is not the one that the manifest describes.
    """
    folder = storage.weights_dir()
    manifest = storage.read_manifest(folder)
    file = f"{name}.safetensors"
    if file not in manifest:
        shipped = sorted(key.removesuffix(".safetensors") for key in manifest) or "none"
        raise ValueError(f"no trained model {name!r} is listed in {folder}: there are {shipped}")
    return restore(*storage.load_safetensors(folder / file, manifest[file]["sha256"]))


def restore(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Model:
    """The model that `tensors` and the arguments in `metadata` describe.

    Args:
        tensors: a state_dict; half precision and eight bits are widened.
        metadata: {"model": name of its class, "arguments": {…}}, as `gfla.checkpoint.save_model`
            writes it.

    Returns:
        The model in eval mode, on the CPU.

    Raises:
        gfla.storage.CheckpointError: metadata or tensors of something else.
    """
    kind = metadata.get("model")
    if kind not in KINDS or "arguments" not in metadata:
        raise storage.CheckpointError(
            f"the file holds {f'a {kind!r}' if kind else 'no generator, an encoder perhaps'}, "
            f"expected a {' or '.join(map(repr, KINDS))} with its arguments: give a file that "
            "gfla.checkpoint.save_model wrote"
        )
    try:
        with torch.random.fork_rng(devices=[]):  # reading a file shall not move anybody's dice
            model = KINDS[kind](**metadata["arguments"])
        model.load_state_dict(bytes8.widened(tensors))
    except (TypeError, ValueError, RuntimeError) as error:
        raise storage.CheckpointError(
            f"the file does not fit this version's {kind} ({error}): write it again"
        ) from error
    return model.eval()
