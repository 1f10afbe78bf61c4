"""What notebook 05 predicts by hand is what the library finds."""

import math

import pytest
import torch

from gfla.data import objects
from gfla.scores import turning
from gfla.street import viewpoints
from gfla.views import Views


def test_a_ball_shows_what_the_formula_says():
    found = viewpoints.ball(129)
    for turn in range(10):
        cos, sin = (f(math.radians(20 * turn)) for f in (math.cos, math.sin))
        assert found.share[turn] == pytest.approx((1 + cos) / 2, abs=0.01)
        assert found.middle[turn] == pytest.approx(sin, abs=0.01)
    near = viewpoints.ball(65, away=1)
    assert near.share[4] < found.share[4] - 0.05
    assert near.share[8] == near.share[9] == 0


def test_there_are_fifty_four_views():
    codes = viewpoints.codes()
    assert codes.shape == (54, 21, 1, 1) and viewpoints.different(codes) == 54
    assert torch.equal(codes.sum(1).flatten(), torch.full((54,), 2.0))


def test_a_norm_silences_a_tile_and_not_a_canvas():
    published, canvas = (viewpoints.entered(code) for code in ("published", "canvas"))
    count = {name: viewpoints.different(maps) for name, maps in published.items()}
    assert count == {"its map": 54, "after the first norm": 1, "main branch": 1, "shortcut": 54}
    assert {viewpoints.different(maps) for maps in canvas.values()} == {54}
    assert viewpoints.uneven(published["shortcut"]) == pytest.approx(0, abs=1e-6)
    assert math.isnan(viewpoints.uneven(published["main branch"]))
    assert viewpoints.uneven(canvas["main branch"]) > 0.5


def test_maps_that_differ_by_less_than_least_are_one():
    maps = torch.tensor([[0.0, 1.0], [1e-5, 1.0], [0.0, 0.5]])
    assert viewpoints.different(maps) == 2
    assert viewpoints.different(maps, least=1e-6) == 3
    assert viewpoints.different(torch.zeros(4, 2)) == 1


def test_uneven_forgives_a_pattern_of_its_period():
    pattern = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat(4, 4)
    maps = torch.stack([pattern, -pattern])[:, None]
    assert viewpoints.uneven(maps) == pytest.approx(0)
    assert viewpoints.uneven(maps, period=1) > 0.1


def trained(code):
    """A model whose heads and shortcuts are as loud as after a training."""
    torch.manual_seed(0)
    model = Views((64, 64), {3: 3, 2: 3}, flow_base=8, flow_cap=16, flow_depth=4, base=8, cap=16,
                  hidden=4, code=code)  # fmt: skip
    with torch.no_grad():
        for weight in model.flow.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


def test_published_adds_what_the_view_says_to_what_the_picture_says():
    turned = viewpoints.spin(2, (64, 64))
    shares = {code: viewpoints.say(trained(code), turned) for code in ("published", "canvas")}
    coarse = shares["published"]["coarse flow"]
    assert coarse.both < 1e-6 < 1e-3 < coarse.view
    assert shares["canvas"]["coarse flow"].both > 1e-3
    assert all(sum(of) == pytest.approx(1) for of in shares["canvas"].values())


def test_sides_are_those_of_one_object():
    model = trained("canvas")
    turned = viewpoints.spin(2, (64, 64), ("truck",), elevation=2, first=3)
    assert torch.equal(turned["source"], turned["frames"][:, 3])
    clips = viewpoints.sides({"ours": model}, (64, 64), "truck", 1, elevation=2, first=3)
    assert list(clips) == ["source", "ours", "truth"]
    assert torch.equal(clips["truth"], turned["frames"][1])
    asked = turned["source"], turned["source_view"], turned["views"]
    made = turning.around(model, *asked).image[1]
    torch.testing.assert_close(clips["ours"], made, atol=1e-5, rtol=0)
    seen = viewpoints.look({"ours": model}, turned, 1, stop=7)
    assert list(seen) == list(clips)
    for name, clip in clips.items():
        torch.testing.assert_close(seen[name], clip[7], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="classes is"):
        viewpoints.sides({}, (64, 64), "boat")


def test_profiles_are_known_by_name():
    assert viewpoints.setting("cpu").pairs > viewpoints.setting("smoke").pairs
    assert set(objects.HELD_OUT).isdisjoint(objects.TRAINED)
    with pytest.raises(ValueError, match="'huge': choose one of smoke, cpu, gpu"):
        viewpoints.setting("huge")
