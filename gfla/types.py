"""The shape vocabulary: one name for each kind of tensor that travels between the rooms.

Axis letters have one meaning everywhere: B batch, C channels, H W image, h w a level (the image
at stride 2^level), K key points. The aliases annotate; they are checked by nobody at run time.
"""

from jaxtyping import Float
from torch import Tensor

Image = Float[Tensor, "B 3 H W"]  # RGB in [-1, 1]
Pose = Float[Tensor, "B K H W"]  # one heat map in [0, 1] for every key point
Flow = Float[Tensor, "B 2 h w"]  # dx to the right, dy down; pixels of its level; target -> source
Mask = Float[Tensor, "B 1 h w"]  # in [0, 1]; 1 takes the sampled source, 0 keeps the target
Features = Float[Tensor, "B C h w"]

__all__ = ["Features", "Flow", "Image", "Mask", "Pose"]
