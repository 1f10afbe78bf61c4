"""Animation: what a clip is made of, what carries from frame to frame, and how it begins."""

from __future__ import annotations

import json
import re

import pytest
import torch

from gfla.animation import Animation
from gfla.checkpoint import load_model, save_model
from gfla.inputs import check_shapes
from gfla.model import GFLA
from gfla.storage import CheckpointError
from gfla.types import Output

WIDTHS = {"flow_base": 4, "flow_cap": 8, "flow_depth": 4, "base": 4, "cap": 8, "hidden": 4}
SMALL = {"size": (32, 48), "kernel_sizes": {1: 2, 2: 3}, "pose_channels": 6, **WIDTHS}


def lively(network):
    """The same network with weights that do something: their gain of 0.02 hides every difference.

    Norm scales stay; convolutions grow tenfold, and flows are a few tenths of a pixel.
    """
    generator = torch.Generator().manual_seed(3)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(10)
        elif name.endswith("bias"):
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network


@pytest.fixture(params=["two", "one"])
def model(request) -> Animation:
    return lively(Animation(**SMALL, flows=request.param))


def inputs(batch: int = 2, frames: int = 3) -> dict[str, torch.Tensor]:
    return {
        "poses": torch.rand(batch, frames, 6, 32, 48),
        "reference": torch.rand(batch, 3, 32, 48) * 2 - 1,
        "reference_pose": torch.rand(batch, 6, 32, 48),
    }


def test_a_clip_is_its_steps_each_from_the_frame_before(model):
    given = inputs()
    clip = model(**given)
    reference, reference_pose = given["reference"], given["reference_pose"]
    previous, previous_pose = reference, reference_pose
    for t, pose in enumerate(given["poses"].unbind(1)):
        output = model.step(pose, reference, reference_pose, previous, previous_pose)
        assert isinstance(output, Output)
        torch.testing.assert_close(clip.image[:, t], output.image)
        for name in ("flows", "masks", "weights"):
            for whole, frame in zip(getattr(clip, name), getattr(output, name), strict=True):
                torch.testing.assert_close(whole[:, t], frame)
        previous, previous_pose = output.image, pose


def test_a_clip_has_two_fields_per_level_previous_before_reference(model):
    given = inputs()
    clip = model(**given)
    assert clip._fields == ("image", "flows", "masks", "weights")
    assert clip.image.shape == (2, 3, 3, 32, 48) and clip.image.abs().max() <= 1
    h, w = (8, 12), (16, 24)
    assert [tuple(flow.shape[2:]) for flow in clip.flows] == [(2, *h), (2, *h), (2, *w), (2, *w)]
    assert [tuple(mask.shape[2:]) for mask in clip.masks] == [(1, *h), (1, *h), (1, *w), (1, *w)]
    assert [weights.shape[2] for weights in clip.weights] == [9, 9, 4, 4]
    changed = given | {"reference": -given["reference"]}
    start = {"previous": given["reference"], "previous_pose": given["reference_pose"]}
    before, after = (model(**x, **start) for x in (given, changed))  # the first frame's previous
    if model.arguments["flows"] == "two":  # ... alone decides its flow, and r's alone r's
        for i in (0, 2):
            assert torch.equal(before.flows[i][:, 0], after.flows[i][:, 0])
    for i in (1, 3):
        assert not torch.equal(before.flows[i][:, 0], after.flows[i][:, 0])


def test_the_fields_are_used_where_they_belong(model):
    """A mask of zero shuts out its own source, and no other."""
    given = inputs(1, 1)
    pose, reference = given["poses"][:, 0], given["reference"]
    previous = torch.rand_like(reference)
    flows, masks = model.flow(pose, reference, given["reference_pose"], previous, pose)
    shut = [torch.zeros_like(m) if i % 2 == 0 else m for i, m in enumerate(masks)]

    def picture(previous, reference):
        return model.renderer(pose, model.renderer.look(reference), previous, flows, shut).image

    assert torch.equal(picture(previous, reference), picture(-previous, reference))
    assert not torch.equal(picture(previous, reference), picture(previous, -reference))


def test_two_open_masks_add_what_they_read_and_two_shut_ones_double_the_target(model):
    """The sum of spec.md 4.6, seen at the entrance of the decoder behind the coarsest level."""
    renderer, seen = model.renderer, []
    renderer.decoder["2"].register_forward_hook(lambda module, args, out: seen.append(args[0]))
    given = inputs(1, 1)
    pose = given["poses"][:, 0]
    known = renderer.look(given["reference"])
    flows = [torch.zeros(1, 2, *s) for s in ((8, 12), (8, 12), (16, 24), (16, 24))]
    for share in (0.0, 1.0):
        masks = [torch.full_like(flow[:, :1], share) for flow in flows]
        renderer(pose, known, given["reference"], flows, masks)
    target = pose
    for level in ("1", "2", "3"):
        target = renderer.target_encoder[level](target)
    target = renderer.decoder["3"](target)
    torch.testing.assert_close(seen[0], 2 * target)
    p = renderer.previous_encoder["2"](renderer.previous_encoder["1"](given["reference"]))
    read_p = renderer.previous_attention["2"](p, target, flows[0]).attended
    read_r = renderer.reference_attention["2"](known[2], target, flows[1]).attended
    torch.testing.assert_close(seen[1], read_p + read_r)


def test_gradients_reach_back_through_the_frames_and_a_chunk_continues_a_clip(model):
    given = inputs(1, 3)
    given["poses"].requires_grad_()
    clip = model(**given)
    clip.image[:, 2].square().sum().backward()
    assert given["poses"].grad[:, 0].abs().max() > 0  # the first pose made the second's previous
    first = model(given["poses"][:, :2], given["reference"], given["reference_pose"])
    rest = model(
        given["poses"][:, 2:], given["reference"], given["reference_pose"],
        first.image[:, -1].detach(), given["poses"][:, 1],
    )  # fmt: skip
    torch.testing.assert_close(rest.image[:, 0], clip.image[:, 2])


def test_every_parameter_trains_but_source_blocks_deeper_than_the_attention(model):
    model(**inputs(1, 2)).image.square().sum().backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle and all("previous_encoder.3" in n or "reference_encoder.3" in n for n in idle)


def test_without_memory_each_frame_is_painted_alone():
    torch.manual_seed(1)
    model = lively(Animation(**SMALL))
    torch.manual_seed(1)
    alone = lively(Animation(**SMALL, memory=False))
    given = inputs(1, 3)
    clip, frames = model(**given).image, alone(**given).image
    assert sum(p.numel() for p in alone.parameters()) == sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(clip[:, 0], frames[:, 0])
    assert not torch.allclose(clip[:, 1], frames[:, 1], atol=1e-3)
    backwards = alone(**given | {"poses": given["poses"].flip(1)}).image
    torch.testing.assert_close(backwards.flip(1), frames)


def test_render_gives_the_clip_without_gradients_and_refuses_values_that_no_picture_has(model):
    given = inputs()
    image = model.render(**given)
    assert not image.requires_grad
    assert torch.equal(image, model(**given).image)
    for name, value, message in (
        ("reference", 255.0, "reference has values from 255 to 255, expected [-1, 1]"),
        ("poses", float("nan"), "poses holds values that are not finite"),
    ):
        wrong = given | {name: torch.full_like(given[name], value)}
        with pytest.raises(ValueError, match=re.escape(message)):
            model.render(**wrong)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"poses": torch.zeros(2, 6, 32, 48)}, ValueError, "expected (B, T, 6, H, W)"),
        ({"poses": torch.zeros(2, 0, 6, 32, 48)}, ValueError, "at least one frame"),
        ({"poses": torch.zeros(2, 3, 7, 32, 48)}, ValueError, "poses[:, 0] has shape (2, 7,"),
        ({"reference": torch.zeros(2, 3, 32, 48).byte()}, TypeError, "bytes / 127.5 - 1"),
        ({"reference_pose": torch.zeros(1, 6, 32, 48)}, ValueError, "must agree"),
        ({"previous": torch.zeros(2, 3, 32, 48)}, ValueError, "give both, or neither"),
    ],
)
def test_wrong_shapes_are_refused_by_name(model, change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        model(**(inputs() | change))
    with pytest.raises(ValueError, match="multiples of 16"):
        check_shapes({"reference": (torch.zeros(1, 3, 40, 48), 3)}, 16, (32, 48))


def test_ways_without_a_flow_and_other_flows_are_refused():
    with pytest.raises(ValueError, match=r"'global': an animation has one of \['bilinear', 'full"):
        Animation(attention="global")
    with pytest.raises(ValueError, match=r"flows is 'three': choose one of \['one', 'two'\]"):
        Animation(flows="three")
    with pytest.raises(ValueError, match="give two of each per level"):
        model = Animation(**SMALL, attention="bilinear")
        given = inputs(1, 1)
        known = model.renderer.look(given["reference"])
        model.renderer(given["poses"][:, 0], known, given["reference"], [], [])


def test_an_animation_returns_from_its_file_with_its_arguments(model, tmp_path):
    assert Animation(**json.loads(json.dumps(model.arguments))).arguments == model.arguments
    save_model(tmp_path / "m.safetensors", model)
    again = load_model(tmp_path / "m.safetensors")
    given = inputs(1, 2)
    assert type(again) is Animation and not again.training
    assert torch.equal(again.render(**given), model.render(**given))


# ---- adopt ---------------------------------------------------------------------------------------


@pytest.fixture
def people() -> GFLA:
    return lively(GFLA(**SMALL, true_colors=True))


def test_an_adopted_model_paints_what_the_people_model_paints(people):
    model = Animation(**SMALL, true_colors=True)
    given = inputs(2, 2)
    pose = given["poses"][:, 0]
    expected = people.render(given["reference"], given["reference_pose"], pose)
    before = (model.render(**given)[:, 0] - expected).abs().max()
    assert model.adopt(people) is model
    found = model.render(**given)[:, 0]
    assert expected.std() > 0.01  # a picture, not a grey sheet
    assert before > 0.1  # and not the same one anyway
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    assert all(p.requires_grad for p in model.parameters())


def test_an_adopted_model_keeps_its_own_weights(people):
    """Training one afterwards leaves the other alone."""
    kept = {name: tensor.clone() for name, tensor in people.state_dict().items()}
    model = Animation(**SMALL, true_colors=True).adopt(people)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in people.state_dict().items())


def test_what_does_not_fit_is_not_adopted(people):
    with pytest.raises(CheckpointError, match=r"'true_colors': \(True, False\)"):
        Animation(**SMALL).adopt(people)
    with pytest.raises(CheckpointError, match=r"'flows': \('two', 'one'\)"):
        Animation(**SMALL, true_colors=True, flows="one").adopt(people)
    with pytest.raises(CheckpointError, match="a Linear cannot be adopted"):
        Animation(**SMALL).adopt(torch.nn.Linear(1, 1))
