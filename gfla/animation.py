"""A still picture set in motion, frame by frame: each is painted from the one before and the still.

The same F and G as for a single picture, each with two sources (`gfla.two_sources`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfla.attention import WAYS
from gfla.inputs import check_shapes, check_values
from gfla.storage import CheckpointError
from gfla.two_sources import FLOWS, TwoSourceRenderer
from gfla.types import Features, Image, Output, Pose

GUIDED = sorted(name for name, way in WAYS.items() if way.guided)


class Clip(NamedTuple):
    """What an animation returns; p from the previous frame, r from the reference, coarse → fine."""

    image: Tensor  # (B, T, 3, H, W) in [-1, 1]
    flows: tuple[Tensor, ...]  # p3, r3, p2, r2: each (B, T, 2, h, w), in pixels of its own level
    masks: tuple[Tensor, ...]  # p3, r3, p2, r2: each (B, T, 1, h, w) in [0, 1]
    weights: tuple[Tensor, ...]  # p3, r3, p2, r2: each (B, T, n·n, h, w), inside the patch


class Animation(nn.Module):
    """A clip of one person, from one still picture and a pose per frame.

    x̂_t = G(x̂_{t−1}, x_ref, p_t, F(x̂_{t−1}, p_{t−1}, x_ref, p_ref, p_t)),   x̂_0 = x_ref

    Args:
        size: (H, W) of the pictures it is meant for; others work if they fit the depth.
        kernel_sizes: {level: n}, where attention looks and the side of its patch.
        image_channels, pose_channels: 3 colours; 20 maps (the paper's dance: 17 joints and a
            drawing of the bones in 3 colours), 16 for faces.
        flow_base, flow_cap, flow_depth: widths and halvings of the flow estimators.
        base, cap, depth: widths and halvings of the renderer.
        hidden: width of the kernel nets inside the attention.
        attention: "full" or "bilinear", the ways that a flow guides.
        mask_start: the value that every mask begins with.
        true_colors: leave the norms out of the source encoders' first block.
        flows: "two" flow estimators, one per source (dance), or "one" that sees both (face).
        memory: False puts the reference in the place of the previous frame, always: the
            frame-by-frame model of the same size.

    Returns (forward): Clip of image, flows, masks and weights.

    Raises:
        ValueError: an attention without flow, another `flows`, levels beyond the depth; (forward)
            shapes that do not fit each other or the depth.
        TypeError: (forward) something else than tensors of floating-point numbers.

    The defaults are the paper's dance model of 23,510,195 parameters.

    >>> animation = Animation((32, 32), {1: 3}, flow_base=4, flow_depth=3, base=4, depth=2)
    >>> poses, reference = torch.zeros(2, 5, 20, 32, 32), torch.zeros(2, 3, 32, 32)
    >>> clip = animation(poses, reference, poses[:, 0])
    >>> clip.image.shape, [tuple(flow.shape) for flow in clip.flows]
    (torch.Size([2, 5, 3, 32, 32]), [(2, 5, 2, 16, 16), (2, 5, 2, 16, 16)])
    """

    def __init__(
        self,
        size: tuple[int, int] = (256, 256),
        kernel_sizes: Mapping[int, int] | None = None,
        image_channels: int = 3,
        pose_channels: int = 20,
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
        flows: str = "two",
        memory: bool = True,
    ) -> None:
        super().__init__()
        if attention not in GUIDED:
            raise ValueError(f"attention is {attention!r}: an animation has one of {GUIDED}")
        if flows not in FLOWS:
            raise ValueError(f"flows is {flows!r}: choose one of {sorted(FLOWS)}")
        kernel_sizes = {2: 5, 3: 3} if kernel_sizes is None else kernel_sizes
        # JSON, through which these arguments travel with the weights, knows text keys only
        kernel_sizes = {int(level): int(n) for level, n in dict(kernel_sizes).items()}
        self.size = (int(size[0]), int(size[1]))
        self.memory = bool(memory)
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
            "flows": flows,
            "memory": self.memory,
        }
        self.flow = FLOWS[flows](
            image_channels, pose_channels, flow_base, flow_cap, flow_depth,
            tuple(kernel_sizes), mask_start,
        )  # fmt: skip
        self.renderer = TwoSourceRenderer(
            image_channels, pose_channels, base, cap, depth, kernel_sizes, hidden,
            WAYS[attention], true_colors,
        )  # fmt: skip

    def forward(
        self,
        poses: Tensor,
        reference: Image,
        reference_pose: Pose,
        previous: Image | None = None,
        previous_pose: Pose | None = None,
    ) -> Clip:
        """The clip of `poses`; without a previous frame, it begins from the reference.

        Args:
            poses: (B, T, K, H, W), T of 1 or more.
            reference, reference_pose: (B, 3, H, W) in [-1, 1] and (B, K, H, W).
            previous, previous_pose: the frame before the first and its pose, or neither.

        Gradients flow from frame to frame; a chunk of a longer clip is cut from the one before by
        giving its last frame, detached, as `previous`.
        """
        if (previous is None) != (previous_pose is None):
            raise ValueError("previous and previous_pose go together: give both, or neither")
        if previous is None:
            previous, previous_pose = reference, reference_pose
        self._check(poses, reference, reference_pose, previous, previous_pose)
        known, frames = self.renderer.look(reference), []
        for pose in poses.unbind(1):
            frames.append(
                self.step(pose, reference, reference_pose, previous, previous_pose, known)
            )
            previous, previous_pose = frames[-1].image, pose
        image, *others = zip(*frames, strict=True)
        return Clip(
            torch.stack(image, dim=1),
            *(tuple(torch.stack(x, dim=1) for x in zip(*each, strict=True)) for each in others),
        )

    def step(
        self,
        pose: Pose,
        reference: Image,
        reference_pose: Pose,
        previous: Image,
        previous_pose: Pose,
        known: Mapping[int, Features] | None = None,
    ) -> Output:
        """One frame.

        Args:
            pose, reference, reference_pose, previous, previous_pose: as in `forward`, of this
                frame alone.
            known: what `renderer.look` says of the reference, where several frames share it.

        Returns:
            Output of image (B, 3, H, W), and flows, masks and weights with p and r in turn.
        """
        if not self.memory:
            previous, previous_pose = reference, reference_pose
        self._check(pose[:, None], reference, reference_pose, previous, previous_pose)
        known = self.renderer.look(reference) if known is None else known
        flows, masks = self.flow(pose, reference, reference_pose, previous, previous_pose)
        return Output(*self.renderer(pose, known, previous, flows, masks))

    @torch.no_grad()
    def render(self, poses: Tensor, reference: Image, reference_pose: Pose) -> Tensor:
        """The person of the reference in each of the poses, without gradients.

        Args:
            poses: (B, T, K, H, W).
            reference: (B, 3, H, W) in [-1, 1].
            reference_pose: (B, K, H, W).

        Returns:
            image (B, T, 3, H, W) in [-1, 1].

        Raises:
            TypeError, ValueError: what `forward` refuses, values that are not finite, or a
                reference outside [-1, 1].
        """
        self._check(poses, reference, reference_pose, reference, reference_pose)
        check_values({"reference": reference}, {"poses": poses, "reference_pose": reference_pose})
        return self(poses, reference, reference_pose).image

    @torch.no_grad()
    def adopt(self, people: nn.Module) -> Animation:
        """Begin from a model of single pictures: both sources know what its one source knew.

        Args:
            people: a trained `gfla.model.GFLA` of the same widths, levels and attention.

        Returns:
            This model.

        Raises:
            gfla.storage.CheckpointError: another architecture; the message says where they differ.

        Where previous and reference agree, the sum of the two blends is 2x, if x is the one blend
        of the people model. The decoder behind it begins with a norm, to which 2x and x are alike,
        beside two paths that are linear: so the residual block's last convolution is doubled
        (2x + 2 model(x)), and the next block's shortcut is halved. The first frame from a reference
        is then the people model's picture, and a later one mixes the two sources half and half.
        """
        theirs, ours = getattr(people, "arguments", {}), self.arguments
        free = {"size", "mask_start", "memory"}
        expected = {name: value for name, value in ours.items() if name not in free}
        found = {"flows": "two"} | {name: theirs.get(name) for name in expected if name in theirs}
        if found != expected:
            differ = {
                name: (found.get(name), value)
                for name, value in expected.items()
                if found.get(name) != value
            }
            raise CheckpointError(
                f"a {type(people).__name__} cannot be adopted: (its, ours) are {differ}; "
                "build the animation with the people model's arguments and flows='two'"
            )
        for flow in (self.flow.previous, self.flow.reference):
            flow.load_state_dict(people.flow.state_dict())
        own, single = self.renderer, people.renderer
        for source in (own.previous_encoder, own.reference_encoder):
            source.load_state_dict(single.source_encoder.state_dict())
        for attention in (own.previous_attention, own.reference_attention):
            attention.load_state_dict(single.attention.state_dict())
        for name in ("target_encoder", "decoder", "output"):
            getattr(own, name).load_state_dict(getattr(single, name).state_dict())
        for level in own.levels:
            block, rise = own.decoder[str(level)]
            block.model[-1].weight.mul_(2)
            block.model[-1].bias.mul_(2)
            rise.shortcut[0].weight.mul_(0.5)
        return self

    def _check(
        self,
        poses: Tensor,
        reference: Image,
        reference_pose: Pose,
        previous: Image,
        previous_pose: Pose,
    ) -> None:
        colours, maps = self.arguments["image_channels"], self.arguments["pose_channels"]
        if not isinstance(poses, Tensor) or poses.ndim != 5 or not poses.shape[1]:
            found = tuple(poses.shape) if isinstance(poses, Tensor) else type(poses).__name__
            raise ValueError(
                f"poses is {found}, expected (B, T, {maps}, H, W) with at least one frame"
            )
        inputs = {
            "reference": (reference, colours),
            "reference_pose": (reference_pose, maps),
            "poses[:, 0]": (poses[:, 0], maps),
            "previous": (previous, colours),
            "previous_pose": (previous_pose, maps),
        }
        step = 2 ** max(self.arguments["flow_depth"], self.arguments["depth"])
        check_shapes(inputs, step, self.size)
