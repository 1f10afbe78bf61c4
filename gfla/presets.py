"""The named settings, as changes to the paper's: what `gfla.config.preset` applies."""

from __future__ import annotations

_COMPACT = {"name": "people", "kernel_sizes": {2: 3, 1: 3}, "depth": 2, "d_depth": 3}
_CAREFUL = {"clip": 1.0, "ema": 0.999}
_BRIEF = {"flow.schedule": "cosine", "full.schedule": "cosine"}
# Three levels: the coarse flow, which sees motion from afar, brings the fine ones with it.
_THREE = {"kernel_sizes": {3: 3, 2: 3, 1: 3}, "depth": 3, "precision": "bfloat16"}
# A renderer that learns ten times as fast as the paper's must not drag flow and mask along: at
# first its gradient is noise, and the mask learns to leave the source alone for good.
_PATIENT = {"flow_lr_ratio": 0.1, "mask_start": 0.9, "true_colors": True}
# The paper's lambdas are tuned for VGG and for a million steps. With ours, textures that the
# discriminator and the style loss like appear before they are in the right place.
_EXACT = {
    "full.sampling_correctness": 20.0,
    "full.affine_regularization": 0.01,
    "full.l1": 20.0,
    "full.adversarial": 1.0,
    "full.style": 250.0,
}
# Where seconds of training are all there is, what is judged is whether the right colour is in the
# right place; sharpness is what a longer training adds.
_FAITHFUL = {"full.l1": 40.0, "full.adversarial": 0.25, "full.style": 50.0}


def overrides() -> dict[str, dict]:
    """What a preset changes of the paper's DeepFashion values: {preset: {field: value}}."""
    small = _small()
    slow_kernels = {"kernel_lr_ratio": 0.1}  # as fast as G, they settle on one tap
    views = small | slow_kernels | {"kind": "views", "source": "objects", "name": "objects"}
    # Objects are a sixth of a picture that is white otherwise: L1 alone leaves them grey for long.
    views |= {"full.perceptual": 5.0}
    views |= {"pose_channels": 21, "code": "canvas", "flow.steps": 2_000, "full.steps": 2_000}
    clips = small | slow_kernels | _FAITHFUL | {"kind": "animation", "source": "clips"}
    clips |= {"batch": 2, "frames": 4, "d_video": "differences", "full.temporal": 0.25}
    clips |= {"full.steps": 1_000}
    faces = {"source": "portraits", "flows": "one", "pose_channels": 16}
    return {
        "fashion": {},
        "market": {"size": (128, 64), "kernel_sizes": {2: 3}, "d_depth": 3},
        "shapenet": {"kind": "views", "source": "data/shapenet", "pose_channels": 21},
        "dance": {"kind": "animation", "source": "data/dance", "pose_channels": 20}
        | {"batch": 2, "frames": 6, "full.temporal": 2.0},
        "small": small,
        "views": views,
        "appearance": views
        | {"kind": "appearance", "true_colors": False}
        | {"full.adversarial": 0.0, "full.style": 0.0},
        "video": clips,
        "face": clips | faces | {"flow.steps": 600, "full.steps": 800},
        "tiny": _tiny(),
    }


def _small() -> dict:
    """64 px on a laptop."""
    return (
        _COMPACT
        | _THREE
        | _PATIENT
        | _EXACT
        | _CAREFUL
        | _BRIEF
        | {"size": (64, 64), "flow_cap": 128, "flow_depth": 4, "base": 32, "cap": 128}
        | {"flow.steps": 2_500, "flow.lr": 2e-3, "flow.warmup": 50}
        | {"full.steps": 1_800, "full.lr": 1e-3, "full.warmup": 50}
        | {"log_every": 20, "checkpoint_every": 500, "sample_every": 500, "measure_every": 500}
    )


def _tiny() -> dict:
    """A few steps of a few numbers, for tests."""
    return (
        _COMPACT
        | _CAREFUL
        | _BRIEF
        | {"size": (32, 32), "flow_base": 8, "flow_cap": 16, "flow_depth": 3, "base": 8, "cap": 16}
        | {"d_base": 8, "d_cap": 16, "d_depth": 2, "batch": 2, "prefetch": 0}
        | {"flow.steps": 4, "flow.lr": 1e-3, "flow.warmup": 2}
        | {"full.steps": 4, "full.lr": 1e-3, "full.warmup": 2}
        | {"log_every": 1, "checkpoint_every": 2, "sample_every": 0, "measure_every": 0}
        | {"measure_pairs": 4}
    )
