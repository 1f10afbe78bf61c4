"""View synthesis: parity, how a code of the view gets in, what is refused, appearance flow."""

from __future__ import annotations

import json
import re

import oracle
import pytest
import torch

from gfla.attention import WAYS
from gfla.exchange.published import import_published
from gfla.flow import upsample_flow
from gfla.model import load
from gfla.sampling import warp
from gfla.storage import CheckpointError
from gfla.types import Output
from gfla.view_codes import CODES, turn
from gfla.views import AppearanceFlow, ViewFlowEstimator, Views

SIZE = (32, 64)
FLOW = {"kernel_sizes": {1: 2, 2: 3}, "flow_base": 4, "flow_cap": 8, "flow_depth": 4}
SMALL = FLOW | {"base": 4, "cap": 8, "depth": 2, "hidden": 4}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def code(*azimuths: int, elevation: int = 0) -> torch.Tensor:
    """One-hot views, (B, 21, 1, 1)."""
    views = torch.zeros(len(azimuths), 21, 1, 1)
    views[range(len(azimuths)), list(azimuths)] = 1
    views[:, 18 + elevation] = 1
    return views


def inputs() -> dict[str, torch.Tensor]:
    return {
        "source": torch.rand(2, 3, *SIZE) * 2 - 1,
        "source_view": code(0, 4),
        "target_view": code(3, 17, elevation=2),
    }


def count(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ---- the published layout ------------------------------------------------------------------------


def test_parity_of_the_whole_generator():
    golden = oracle.arrays("shapenet_generator256")
    model = import_published(oracle.weights("ShapeNetGenerator", 3), "shapenet")
    assert count(model) == 14_341_323
    assert count(model.flow) == 7_991_286
    views = [torch.from_numpy(golden[key]) for key in ("code1", "code2")]
    with torch.no_grad():
        output = model(oracle.picture(golden["source_u8"]), *views)
    oracle.compare(output.image, golden["img_gen"])
    for i in (0, 1):
        oracle.compare(output.flows[i], golden[f"flow{i}"], relative=True)
        oracle.compare(output.masks[i], golden[f"mask{i}"])


# ---- how a code gets in --------------------------------------------------------------------------


def spread(block: torch.nn.Module, network: torch.nn.Module, *given) -> float:
    """How far the outputs of a block go apart over the batch, beside their own size."""
    heard = []
    handle = block.register_forward_hook(lambda *args: heard.append(args[2]))
    with torch.no_grad():
        network(*given)
    handle.remove()
    return ((heard[0] - heard[0][:1]).abs().max() / heard[0].abs().max()).item()


@pytest.mark.parametrize(("how", "hears"), [("published", False), ("canvas", True)])
def test_instance_norm_silences_a_published_code_and_not_a_canvas(how, hears):
    """The main branch of the first block, asked for three views: norm of a constant is zero."""
    model = Views(SIZE, **SMALL, code=how)
    for parameter in model.parameters():  # weights of no particular kind, biases included
        torch.nn.init.normal_(parameter, std=0.3)
    first = model.renderer.target_encoder["first"]
    source, source_view, views = torch.zeros(3, 3, *SIZE), code(0, 0, 0), code(3, 9, 14)
    assert (spread(first.model, model, source, source_view, views) > 0.05) == hears
    assert spread(first.shortcut, model, source, source_view, views) > 0.05


@pytest.mark.parametrize("how", CODES)
def test_flow_and_picture_depend_on_both_views_and_on_the_source(how):
    model = Views(SIZE, **SMALL, code=how)
    given = inputs()
    before = model(**given)
    others = {"source": given["source"].flip(3), "source_view": code(7, 8)}
    for name, other in (others | {"target_view": code(9, 1)}).items():
        after = model(**(given | {name: other}))
        assert not torch.equal(after.flows[-1], before.flows[-1]), name
        assert not torch.equal(after.image, before.image), name


def test_an_untrained_canvas_turns_the_flow_where_a_published_code_hardly_does():
    """One picture, three target views: how much of the flow they change before any training."""
    shares = {}
    for how in CODES:
        torch.manual_seed(0)
        estimator = ViewFlowEstimator((64, 64), base=16, cap=64, depth=4, levels=(1,), code=how)
        source = (torch.rand(1, 3, 64, 64) * 2 - 1).expand(3, -1, -1, -1)
        head = estimator.head["1"].flow
        shares[how] = spread(head, estimator, source, code(0, 0, 0), code(2, 7, 12))
    assert shares["canvas"] > 0.1
    assert shares["published"] < 0.02


def test_an_untrained_canvas_is_as_loud_as_the_source_that_it_is_blended_with():
    """Else one would drown the other, and no norm stands between to make up for it."""
    renderer = Views((64, 64), {3: 3}, base=32, cap=128, code="canvas", true_colors=True).renderer
    features, known = code(1, 5, 13), torch.rand(3, 3, 64, 64) * 2 - 1
    for block in renderer.target_encoder.values():
        features = block(features)
    for block in renderer.source_encoder.values():
        known = block(known)
    assert features.shape == known.shape
    assert 0.3 < (features.std() / known.std()).item() < 3


def test_a_turn_is_the_azimuth_from_source_to_target_round_the_circle():
    sources, targets = torch.meshgrid(torch.arange(18), torch.arange(18), indexing="ij")
    sources, targets = sources.flatten(), targets.flatten()
    turns = turn(code(*sources, elevation=1), code(*targets))
    expected = torch.nn.functional.one_hot((targets - sources) % 18, 18).float()
    assert torch.equal(turns[..., 0, 0], expected)


def test_a_canvas_learns_to_turn_while_a_published_code_has_not_begun():
    """A flow that turns the picture by the turn of the camera, shown directly, a few dozen times.

    Small, and beside the point in that no model here is trained on true flow; but what a code
    cannot tell F in this way, it cannot tell it in any other.
    """
    y, x = torch.meshgrid(torch.linspace(-8, 8, 16), torch.linspace(-8, 8, 16), indexing="ij")
    left = {}
    for how in CODES:
        torch.manual_seed(0)
        estimator = ViewFlowEstimator((32, 32), base=8, cap=32, depth=3, levels=(1,), code=how)
        optimiser = torch.optim.Adam(estimator.parameters(), lr=4e-3, betas=(0.5, 0.999))
        shares = []
        for _ in range(80):
            bins = torch.randint(0, 18, (2, 8))
            angle = ((bins[1] - bins[0] + 9) % 18 - 9)[:, None, None] * 0.12
            dx, dy = angle.cos() * x - angle.sin() * y - x, angle.sin() * x + angle.cos() * y - y
            wanted = torch.stack([dx, dy], 1)
            source = torch.rand(8, 3, 32, 32) * 2 - 1
            (flow,), _ = estimator(source, code(*bins[0]), code(*bins[1]))
            loss = (flow - wanted).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            shares.append(loss.item() / wanted.abs().mean().item())
        left[how] = sum(shares[-10:]) / 10
    assert left["canvas"] < 0.7
    assert left["published"] > 0.9


@pytest.mark.parametrize("how", CODES)
def test_every_parameter_trains(how):
    model = Views(SIZE, **SMALL, code=how)
    output = model(**inputs())
    sum(x.square().sum() for x in (output.image, *output.flows, *output.masks)).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


# ---- the whole model -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", CODES)
def test_forward_is_f_then_g(how):
    model, given = Views(SIZE, **SMALL, code=how), inputs()
    output = model(**given)
    assert isinstance(output, Output)
    flows, masks = model.flow(**given)
    expected = model.renderer(given["source"], given["target_view"], flows, masks)
    assert torch.equal(output.image, expected.image)
    assert all(torch.equal(a, b) for a, b in zip(output.flows, flows, strict=True))
    assert [tuple(flow.shape) for flow in output.flows] == [(2, 2, 8, 16), (2, 2, 16, 32)]
    assert [tuple(mask.shape) for mask in output.masks] == [(2, 1, 8, 16), (2, 1, 16, 32)]
    assert [weights.shape[1] for weights in output.weights] == [9, 4]


@pytest.mark.parametrize("attention", WAYS)
def test_all_four_ways_know_the_source_s_view(attention):
    """As a canvas: the source encoder's first norm would silence a tile of it as well."""
    model, given = Views(SIZE, **SMALL, attention=attention, code="canvas"), inputs()
    image = model(**given).image
    assert image.shape == given["source"].shape
    assert not torch.equal(model(**(given | {"source_view": code(7, 8)})).image, image)


def test_the_published_code_of_the_source_is_lost_where_no_flow_estimator_knows_it():
    model, given = Views(SIZE, **SMALL, attention="baseline"), inputs()
    image = model(**given).image
    assert image.shape == given["source"].shape
    other = model(**(given | {"source_view": code(7, 8)})).image
    torch.testing.assert_close(other, image, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", [Views, AppearanceFlow])
def test_a_model_is_rebuilt_from_its_arguments_through_json(kind):
    arguments = SMALL if kind is Views else FLOW
    model = kind(SIZE, **arguments, mask_start=0.9, code="canvas").eval()
    again = kind(**json.loads(json.dumps(model.arguments))).eval()
    assert again.arguments == model.arguments
    again.load_state_dict(model.state_dict())
    given = inputs()
    assert torch.equal(model.render(**given), again.render(**given))


def test_masks_begin_where_they_are_told_to():
    for mask in Views(SIZE, **SMALL, mask_start=0.9, code="canvas")(**inputs()).masks:
        torch.testing.assert_close(mask, torch.full_like(mask, 0.9), atol=2e-3, rtol=0)


# ---- plain appearance flow -----------------------------------------------------------------------


def test_appearance_flow_is_the_picture_moved_by_the_finest_flow():
    model, given = AppearanceFlow(SIZE, **FLOW, code="canvas"), inputs()
    head = model.flow.head["1"].flow
    torch.nn.init.constant_(head.bias, 0.75)  # pixels at level 1: 1.5 of the picture's
    output = model(**given)
    assert torch.equal(output.image, warp(given["source"], upsample_flow(output.flows[-1], SIZE)))
    left, right = given["source"][:, :, 3:-1, 3:-1], given["source"][:, :, 3:-1, 4:]
    below, corner = given["source"][:, :, 4:, 3:-1], given["source"][:, :, 4:, 4:]
    mean = (left + right + below + corner) / 4  # 1.5 to the right and 1.5 down, from 2 before
    torch.testing.assert_close(output.image[:, :, 2:-2, 2:-2], mean, atol=0.02, rtol=0)
    assert output.masks == output.weights == ()
    assert len(output.flows) == 2


def test_gradients_reach_appearance_flow_through_its_picture():
    model = AppearanceFlow(SIZE, **FLOW, code="canvas")
    model(**inputs()).image.square().mean().backward()
    assert model.flow.head["1"].flow.weight.grad.abs().max() > 0
    assert model.flow.cat.canvas.mix.weight.grad.abs().max() > 0


# ---- what is refused -----------------------------------------------------------------------------


@pytest.fixture(params=[Views, AppearanceFlow])
def model(request):
    return request.param(SIZE, **(SMALL if request.param is Views else FLOW))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": torch.zeros(2, 3, 64, 64)}, ValueError, "expected (B, 3, 32, 64): this model"),
        ({"source": torch.zeros(2, 1, *SIZE)}, ValueError, "source has shape (2, 1, 32, 64), exp"),
        ({"source": torch.zeros(2, 3, *SIZE).byte()}, TypeError, "bytes / 127.5 - 1"),
        ({"source_view": code(1)}, ValueError, "source_view has shape (1, 21, 1, 1), expected (2,"),
        ({"target_view": code(1, 2)[:, :18]}, ValueError, "expected (2, 21, 1, 1)"),
        ({"target_view": code(1, 2)[..., 0, 0]}, ValueError, "target_view has shape (2, 21)"),
        ({"target_view": code(1, 2).long()}, TypeError, "target_view is torch.int64"),
    ],
)
def test_wrong_shapes_are_refused_by_name(model, change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        model(**(inputs() | change))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("source", 255.0, "values from 255 to 255, expected [-1, 1]"),
        ("source", float("nan"), "source holds values that are not finite"),
        ("target_view", float("inf"), "target_view holds values that are not finite"),
        ("target_view", 2.0, "target_view has values from 2 to 2, expected one-hot azimuth"),
        ("source_view", 0.0, "source_view has values from 0 to 0, expected one-hot azimuth"),
    ],
)
def test_render_refuses_values_that_no_picture_or_view_has(model, name, value, message):
    given = inputs()
    assert torch.equal(model.render(**given), model(**given).image)
    assert not model.render(**given).requires_grad
    given[name] = torch.full_like(given[name], value)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.render(**given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": "silent"}, "code is 'silent': choose one of ['canvas', 'published']"),
        ({"attention": "none"}, "attention is 'none': choose one of"),
        ({"size": (48, 64), "flow_depth": 5}, "flow_depth asks for multiples of 32 on each side"),
        ({"size": (40, 64)}, "size is (40, 64): depth, and two doublings before it, asks for mul"),
        ({"size": (48, 48), "depth": 3}, "and two doublings before it, asks for multiples of 32"),
        ({"size": (16, 16)}, "larger than 16×16"),
        ({"kernel_sizes": {3: 3}}, "levels 1 to 2"),
    ],
)
def test_models_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Views(**(SMALL | {"size": SIZE} | change))


def test_a_renderer_of_people_can_be_adopted():
    small = {"size": (64, 64), "kernel_sizes": {3: 3, 2: 3, 1: 3}, "flow_base": 4, "flow_depth": 4}
    small |= {"base": 32, "cap": 128, "depth": 3, "true_colors": True, "code": "canvas"}
    views, people = Views(**small), load("people")
    before = {name: value.clone() for name, value in views.state_dict().items()}
    views.adopt(people)
    theirs = people.renderer.state_dict()
    for name, value in views.renderer.state_dict().items():
        if name.startswith("target_encoder."):  # the entrance of the view
            assert torch.equal(value, before[f"renderer.{name}"]), name
        else:
            assert torch.equal(value, theirs[name]), name
    for name, value in views.flow.state_dict().items():
        assert torch.equal(value, before[f"flow.{name}"]), name
    with pytest.raises(CheckpointError, match="does not fit"):
        Views(**small | {"base": 16}).adopt(people)
    with pytest.raises(CheckpointError, match="a Linear does not fit"):
        views.adopt(torch.nn.Linear(1, 1))
