"""Bent twins: their flow is what bent them, and no truth about people goes into them."""

import pytest
import torch

from gfla import augment, pretrain
from gfla.data import people
from gfla.pretrain import KINDS, fit_encoder, made

SIZE = (32, 48)


def plain(monkeypatch):
    """Leave the colours alone."""
    for name in ("BRIGHTNESS", "CONTRAST", "TINT", "NOISE"):
        monkeypatch.setattr(augment, name, 0.0)


def places():
    """A picture whose colour at a pixel is its place: red x, green y, both as a share of 100."""
    x = torch.arange(SIZE[1]).expand(SIZE) / 100
    y = torch.arange(SIZE[0])[:, None].expand(SIZE) / 100
    return torch.stack((x, y, 0 * x)).repeat(4, 1, 1, 1)


def test_the_target_shows_what_the_flow_says(monkeypatch):
    plain(monkeypatch)
    pair = augment.twins(places(), seed=3)
    torch.testing.assert_close(pair["source"], places())
    there = 100 * pair["target"][:, :2]
    here = 100 * places()[:, :2]
    inside = pair["inside"].expand(-1, 2, -1, -1) > 0
    torch.testing.assert_close(there[inside], (here + pair["flow"])[inside], atol=1e-3, rtol=0)
    assert 0.5 < float(pair["inside"].mean()) < 1
    outside = ((here + pair["flow"]) - there).abs().amax(1, keepdim=True) > 1e-3
    assert torch.equal(outside.float(), 1 - pair["inside"])


def test_without_the_bend_the_flow_is_affine_about_the_centre(monkeypatch):
    monkeypatch.setattr(augment, "BEND", 0.0)
    monkeypatch.setattr(augment, "SHIFT", 0.0)
    flow = augment.bends(3, (33, 33), torch.Generator().manual_seed(0))
    torch.testing.assert_close(flow[:, :, 16, 16], torch.zeros(3, 2), atol=1e-5, rtol=0)
    for axis in (2, 3):
        assert float(flow.diff(n=2, dim=axis).abs().max()) < 1e-4
    matrix = torch.stack((flow.diff(dim=3)[..., 0, 0], flow.diff(dim=2)[..., 0, 0]), 2)
    size = torch.linalg.det(matrix + torch.eye(2)).log() / 2  # a shear keeps areas
    assert float(size.abs().max()) <= augment.SCALE and float(size.std()) > 0.01


def test_nothing_is_mirrored():
    flow = augment.bends(64, (64, 64), torch.Generator().manual_seed(1))
    right = flow[:, 0, :, -1] - flow[:, 0, :, 0] + 63  # where the last column lies of the first
    assert bool((right.mean(1) > 0).all())


def test_colours_change_and_stay_colours():
    image = people.pairs(8, seed=31_000_000)["source"]
    pair = augment.twins(image, seed=0)
    for name in ("source", "target"):
        assert float(pair[name].abs().max()) <= 1
    assert 0.02 < float((pair["source"] - image).abs().mean()) < 0.2


def test_busy_finds_the_person_without_being_told():
    batch = people.pairs(16, seed=31_000_000)
    found = augment.busy(batch["target"])
    assert abs(float(found.mean()) - 1 / 3) < 0.01
    caught = (found * batch["foreground"]).sum() / batch["foreground"].sum()
    assert float(caught) > 0.9


def test_twins_are_a_function_of_picture_and_seed():
    image = people.pairs(2, seed=31_000_000)["source"]
    before = torch.get_rng_state()
    one, same, other = (augment.twins(image, seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["flow"], other["flow"])


def test_places_that_were_made_point_at_the_source():
    pair = KINDS["augmentation"].pairs(4, size=(64, 64), seed=31_000_000)
    for level in (1, 2, 3):
        at, stride = made(pair, level), 2**level
        x, y = at.cell % (64 // stride), at.cell // (64 // stride)
        middle = stride // 2
        flow = pair["flow"][at.batch, :, stride * y + middle, stride * x + middle] / stride
        torch.testing.assert_close(at.source, torch.stack((x, y), 1) + flow)
        assert bool(at.visible.any()) and not bool(at.visible.all())
        inside = pair["inside"][at.batch, 0, stride * y + middle, stride * x + middle]
        assert bool((inside > 0).all())


def test_augmentation_needs_no_truth_and_no_second_picture(tmp_path, monkeypatch):
    """The truth is taken away: one kind of training does not notice, the other cannot go on."""
    options = {"steps": 2, "batch": 2, "size": (32, 32), "widths": (8,) * 5, "out_widths": (8,) * 3}
    monkeypatch.setattr(pretrain, "nearest_match", lambda *_, **__: {})  # it measures with truth
    whole = fit_encoder(tmp_path / "a", **options, kind="augmentation")
    draw = people.pairs

    def source_only(*args, **more):
        return {"source": draw(*args, **more)["source"]}

    monkeypatch.setattr(people, "pairs", source_only)
    monkeypatch.setitem(KINDS, "truth", KINDS["truth"]._replace(pairs=source_only))
    blind = fit_encoder(tmp_path / "b", **options, kind="augmentation")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, blind.state_dict()[name]), name
    with pytest.raises(KeyError):
        fit_encoder(tmp_path / "c", **options, kind="truth")
