"""The shape vocabulary: one name for each kind of tensor that travels between the rooms.

Axis letters have one meaning everywhere: B batch, C channels, H W image, h w a level (the image
at stride 2^level), K key points. The aliases annotate; they are checked by nobody at run time.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

Image = Float[Tensor, "B 3 H W"]  # RGB in [-1, 1]
Pose = Float[Tensor, "B K H W"]  # one heat map in [0, 1] for every key point
View = Float[Tensor, "B K 1 1"]  # one-hot azimuth and elevation of the camera
Flow = Float[Tensor, "B 2 h w"]  # dx to the right, dy down; pixels of its level; target -> source
Mask = Float[Tensor, "B 1 h w"]  # in [0, 1]; 1 takes the sampled source, 0 keeps the target
Features = Float[Tensor, "B C h w"]


class Output(NamedTuple):
    """What a model returns; the tuples run from the coarsest level to the finest.

    A tuple is empty where a model has no such thing: "global" has no patch and so no weights, and
    its flows are the expected source positions, seen from their own; "baseline" has only the image.
    """

    image: Image  # (B, 3, H, W) in [-1, 1]
    flows: tuple[Flow, ...]  # each (B, 2, h, w): dx, dy in pixels of its own level, target → source
    masks: tuple[Mask, ...]  # each (B, 1, h, w) in [0, 1]: 1 = take it from the source
    weights: tuple[Tensor, ...]  # each (B, n·n, h, w): where the attention looked, inside the patch


__all__ = ["Features", "Flow", "Image", "Mask", "Output", "Pose", "View"]
