"""The names of our parameters in the files that the paper's authors published."""

from __future__ import annotations

import re

from gfla import view_codes

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


def plain_name(key: str) -> str:
    """The name of a tensor in a published file, without prefix and without a second name.

    Several graphics cards put `module.` before every name; the last convolution and those of the
    jumps were registered twice.

    Args:
        key: as it stands in the file.

    Returns:
        The name as `published_name` gives it.

    >>> plain_name("module.flow_net.jump0.model.2.weight")
    'flow_net.jump0.conv1.weight'
    """
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return re.sub(r"\b(jump\d|outconv)\.model\.2\.", r"\1.conv1.", key)
