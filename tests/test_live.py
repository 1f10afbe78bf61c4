"""A painter gives what the model gives, and can say where a pixel came from."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gfla.data import posing, stances
from gfla.data.keypoints import heatmaps
from gfla.interactive import live
from gfla.model import GFLA

WAYS = ("full", "bilinear", "global", "baseline")
SIZE = (32, 32)


def made(way):
    """A small model whose weights are large enough that everything matters."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = GFLA(
            SIZE, {1: 3, 2: 3}, flow_base=4, flow_depth=3, base=4, depth=2, hidden=4, attention=way
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def whom():
    return live.sources(SIZE)["held-out person 1"]()


@pytest.fixture(scope="module")
def painters(whom):
    return {way: live.Painter(made(way), whom) for way in WAYS}


def plain(painter, pose):
    """What the model gives without a painter."""
    told = [heatmaps(p.tensor(), SIZE, 6 * SIZE[0] / 256) for p in (painter.source.pose, pose)]
    before = torch.get_num_threads()
    torch.set_num_threads(painter.threads)  # with another number, other kernels may be chosen
    try:
        with torch.no_grad():
            return painter.model(painter.source.image, *told)
    finally:
        torch.set_num_threads(before)


def tensors(output):
    return [output.image, *output.flows, *output.masks, *output.weights]


@pytest.mark.parametrize("way", WAYS)
def test_a_painter_gives_exactly_what_the_model_gives(painters, whom, way):
    painter = painters[way]
    first = painter.paint(whom.pose).output
    pose = posing.with_angle(whom.pose, "torso", 20)
    got, wanted = painter.paint(pose).output, plain(painter, pose)
    assert len(tensors(got)) == len(tensors(wanted))
    assert all(torch.equal(a, b) for a, b in zip(tensors(got), tensors(wanted), strict=True))
    assert not torch.equal(got.image, first.image)


@pytest.mark.parametrize("way", WAYS)
def test_the_source_is_encoded_once(painters, whom, way):
    painter, ran = painters[way], []
    blocks = painter.model.renderer.source_encoder.values()
    hooks = [block.register_forward_hook(lambda *_: ran.append(1)) for block in blocks]
    try:
        painter.paint(whom.pose)
        assert ran == []
        plain(painter, whom.pose)
        assert len(ran) == 2
    finally:
        for hook in hooks:
            hook.remove()


def test_the_model_is_left_as_it_was(whom):
    model = made("full")
    before = plain(live.Painter(model, whom), whom.pose).image
    other = live.Source("other", -whom.image, whom.pose)
    live.Painter(model, other).paint(whom.pose)
    assert torch.equal(plain(live.Painter(model, whom), whom.pose).image, before)
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("way", WAYS)
def test_a_frame_holds_pictures(painters, whom, way):
    frame = painters[way].paint(whom.pose)
    named = frame.pictures()
    guided = ["flow", "mask"] if way != "baseline" else []
    assert list(named) == ["source", "target pose", *guided, "ours"]
    for name, picture in named.items():
        side = 256 if name == "target pose" else 32
        assert picture.shape == (side, side, 3) and picture.dtype == np.uint8, name
    assert frame.limit == 8 and frame.seconds > 0 and frame.pose == whom.pose


def test_a_pose_of_another_size_is_resized(painters, whom):
    large = posing.resized(whom.pose, (64, 96))
    frames = [painters["full"].paint(pose) for pose in (whom.pose, large)]
    assert frames[1].pose.size == SIZE
    assert torch.allclose(frames[0].output.image, frames[1].output.image, atol=1e-4)


def test_the_model_is_not_told_of_a_nose_on_the_back(painters, whom):
    back = stances.with_facing(stances.preset("stand", whom.pose), 180)
    frame = painters["full"].paint(back)
    assert frame.pose == back  # who edits keeps all joints
    wanted = plain(painters["full"], stances.seen(back)).image
    assert torch.equal(frame.output.image, wanted)
    assert not torch.equal(frame.output.image, plain(painters["full"], back).image)


def test_nobody_can_be_painted(painters):
    nobody = posing.Pose((None,) * 18, SIZE)
    assert torch.isfinite(painters["full"].paint(nobody).output.image).all()


def test_threads_are_given_back(whom):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        painter, ran = live.Painter(made("full"), whom), []
        painter.model.flow.register_forward_hook(lambda *_: ran.append(torch.get_num_threads()))
        painter.paint(whom.pose)
        assert ran == [1] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="threads is 0"):
        live.Painter(made("full"), whom, threads=0)


def test_a_source_must_fit(whom):
    with pytest.raises(ValueError, match="use gfla.data.posing.resized"):
        live.Painter(made("full"), whom._replace(pose=posing.resized(whom.pose, (64, 64))))
    odd = live.Source("odd", torch.zeros(1, 3, 30, 30), posing.resized(whom.pose, (30, 30)))
    with pytest.raises(ValueError, match="multiples of 8"):
        live.Painter(made("full"), odd)


@pytest.mark.parametrize("way, side", [("full", 3), ("bilinear", 1)])
def test_a_pixel_is_followed_through_every_level(painters, whom, way, side):
    painter = painters[way]
    frame = painter.paint(whom.pose)
    origin = live.where_from(painter, frame, (13, 20))
    assert origin.pixel == (13, 20) and origin.note == ""
    assert [look.stride for look in origin.looks] == [4, 2]
    for look, box, flow in zip(origin.looks, origin.boxes, frame.output.flows, strict=True):
        assert look.weights.shape == (side, side) and float(look.weights.sum()) == pytest.approx(1)
        column, row = 13 // look.stride, 20 // look.stride
        for axis, place in enumerate((column, row)):
            there = (place + float(flow[0, axis, row, column]) + 0.5) * look.stride - 0.5
            assert look.source[axis] == pytest.approx(there, abs=1e-4)
            assert box[axis] + box[2 + axis] / 2 == pytest.approx(there, abs=1e-4)
        assert box[2:] == (side * look.stride,) * 2


def test_global_attention_shows_its_map(painters, whom):
    painter = painters["global"]
    frame = painter.paint(posing.with_angle(whom.pose, "torso", 20))
    origin = live.where_from(painter, frame, (13, 20))
    assert "whole source" in origin.note
    for look, box in zip(origin.looks, origin.boxes, strict=True):
        places = 32 // look.stride
        assert look.weights.shape == (places, places) and box == (-0.5, -0.5, 32, 32)
        assert float(look.weights.sum()) == pytest.approx(1, abs=1e-5)
        line = torch.arange(places, dtype=torch.float32)
        expected = (look.weights.sum(0) @ line, look.weights.sum(1) @ line)
        for axis in (0, 1):  # the map's middle is the place that the arrow shows
            wanted = (float(expected[axis]) + 0.5) * look.stride - 0.5
            assert look.source[axis] == pytest.approx(wanted, abs=1e-2)


def test_the_baseline_cannot_know(painters, whom):
    origin = live.where_from(painters["baseline"], painters["baseline"].paint(whom.pose), (1, 2))
    assert origin.looks == origin.boxes == () and "nobody can say" in origin.note


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pixel", [(-1, 0), (32, 0), (0, 32)])
def test_a_pixel_outside_is_refused(painters, whom, way, pixel):
    with pytest.raises(ValueError, match="32×32"):
        live.where_from(painters[way], painters[way].paint(whom.pose), pixel)


def test_shipped_models_are_found_by_name(monkeypatch):
    there = live.available()
    assert there["Full"] == "people" and set(there) <= set(live.MODELS)
    monkeypatch.setattr(live.storage, "read_manifest", lambda folder: {"people.safetensors": {}})
    assert live.available() == {"Full": "people"}
    with pytest.raises(ValueError, match="no model 'Baseline' is shipped: choose one of Full"):
        live.load("Baseline")


def test_the_shipped_model_is_loaded_once_and_painted_with():
    model = live.load("Full")
    assert live.load("Full") is model and not model.training
    whom = live.sources(model.size)["held-out person 2"]()
    frame = live.Painter(model, whom).paint(whom.pose)
    error = (frame.output.image - whom.image).abs().mean()
    assert error < 0.12  # the person in their own pose


def test_png_is_the_picture():
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    with Image.open(io.BytesIO(live.png(picture, zoom=3))) as opened:
        back = np.asarray(opened)
    assert back.shape == (12, 15, 3) and np.array_equal(back[1::3, 1::3], picture)


def test_one_answer_costs_less_than_the_target():
    model = live.load("Full")
    whom = live.sources(model.size)["held-out person 1"]()
    told = live.latency(live.Painter(model, whom), [whom.pose] * 9, warmup=2)
    assert told["process_median"] < 150  # milliseconds of one core; the wall's depend on the load


def test_latency_is_told_in_milliseconds(painters, whom):
    told = live.latency(painters["full"], [whom.pose] * 4, warmup=1)
    assert told["frames"] == 4
    assert 0 < told["wall_p10"] <= told["wall_median"] <= told["wall_p90"] < 60_000
    assert told["process_median"] > 0
    with pytest.raises(ValueError, match="no pose"):
        live.latency(painters["full"], [])
