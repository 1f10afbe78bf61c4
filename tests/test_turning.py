"""View synthesis is judged where it can be right; whose say the variance is adds up to one."""

import math

import pytest
import torch
from torch import nn

from gfla.data import objects
from gfla.flow import upsample_flow
from gfla.sampling import warp
from gfla.scores import turning
from gfla.types import Output
from gfla.views import AppearanceFlow, Views

SIZE = (32, 32)
SMALL = {"flow_base": 4, "flow_depth": 3}


class Copies(nn.Module):
    """Leaves the source where it is."""

    size = SIZE

    def forward(self, source, source_view, target_view):
        flow = source.new_zeros(len(source), 2, 16, 16)
        return Output(source, (flow,), (), ())


class Knows(nn.Module):
    """Was told the truth about the batch that it is asked about."""

    size = SIZE

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def forward(self, source, source_view, target_view):
        flow = self.batch["flow"][: len(source)]
        return Output(warp(source, flow), (flow,), (), ())


@pytest.fixture(scope="module")
def batch():
    return objects.pairs(8, SIZE, objects.MEASURING_SEEDS)


def test_copying_is_one_and_the_truth_is_best(batch):
    copied = turning.judge(Copies(), 8)
    assert copied["copy_ratio"] == pytest.approx(1) and copied["flow_ratio"] == pytest.approx(1)
    assert copied["l1_foreground"] == pytest.approx(copied["copy_l1_foreground"])
    assert copied["ssim"] == pytest.approx(copied["copy_ssim"])
    best = turning.judge(Knows(batch), 8)
    assert best["l1"] == pytest.approx(best["true_warp_l1"])
    assert best["own_warp_l1"] == pytest.approx(best["l1"]), "its picture is its flow's warp"
    assert copied["own_warp_l1"] == pytest.approx(copied["copy_l1"], rel=1e-6)
    assert best["flow_error"] == 0 and best["copy_ratio"] < 0.5
    assert best["copy_l1"] == copied["copy_l1"] and best["pairs"] == 8


def test_the_numbers_are_those_of_the_formula(batch):
    found = turning.judge(Copies(), 8)
    visible = batch["visible"].double()
    wrong = ((batch["source"] - batch["target"]).abs().double().mean(1, keepdim=True) / 2) * visible
    assert found["l1"] == pytest.approx(float(wrong.sum() / visible.sum()), rel=1e-6)
    moved = batch["flow"].double().norm(dim=1, keepdim=True) * visible
    assert found["zero_flow_error"] == pytest.approx(float(moved.sum() / visible.sum()), rel=1e-6)
    share = float(visible.sum() / batch["foreground"].double().sum())
    assert found["visible_share"] == pytest.approx(share)


def test_groups_make_up_the_whole():
    rows = turning.survey({"": Copies()}, 24)[""]
    whole = turning.summary(rows)
    for by in ("turn", "elevation", "kind"):
        groups = turning.grouped(rows, by)
        assert sum(one["pairs"] for one in groups.values()) == whole["pairs"] == 24
        ssim = sum(one["pairs"] * one["ssim"] for one in groups.values()) / 24
        assert ssim == pytest.approx(whole["ssim"])
    assert set(turning.grouped(rows, "turn")) <= set(range(10))
    with pytest.raises(ValueError, match="by is 'angle': choose one of turn, elevation, kind"):
        turning.grouped(rows, "angle")


def test_left_and_right_turns_are_folded_and_a_still_object_has_no_ratio():
    rows = turning.survey({"": Copies()}, 48)[""]
    drawn = [objects.pairs(16, SIZE, objects.MEASURING_SEEDS + start) for start in (0, 16, 32)]
    turned = torch.cat([one["azimuths"][:, 1] - one["azimuths"][:, 0] for one in drawn]).abs()
    assert torch.equal(rows.turn, torch.minimum(turned, 18 - turned))
    assert (turned > 9).any(), "some of these pairs turn by more than half a circle"
    still = turning.grouped(rows, "turn")[0]
    assert math.isnan(still["copy_ratio"]) and math.isnan(still["flow_ratio"])
    assert still["copy_l1"] == 0 and still["visible_share"] > 0.9


def test_groups_agree_with_the_whole():
    model = AppearanceFlow(SIZE, {1: 3}, **SMALL).eval()
    rows = turning.survey({"": model}, 20)[""]
    by = turning.grouped(rows, "turn"), turning.grouped(rows, "elevation")
    whole = turning.judge(model, 20)
    for groups in by:
        assert sum(one["pairs"] for one in groups.values()) == 20
    assert turning.judge(model, 20) == whole
    only = turning.judge(model, 4, classes=("truck",))
    assert only["copy_l1"] != whole["copy_l1"]


def test_models_without_flows_are_judged_by_pictures():
    model = Views(SIZE, {1: 3}, **SMALL, base=4, depth=2, hidden=4, attention="baseline").eval()
    found = turning.judge(model, 2)
    assert "flow_error" not in found and 0 < found["l1"] < 1


def test_nobody_or_nothing_to_judge_is_refused():
    with pytest.raises(ValueError, match="0 models and 4 pairs"):
        turning.survey({}, 4)
    with pytest.raises(ValueError, match="1 models and 0 pairs"):
        turning.judge(Copies(), 0)
    with pytest.raises(ValueError, match="classes is"):
        turning.judge(Copies(), 2, classes=("boat",))


def test_shares_know_who_speaks():
    torch.manual_seed(0)
    pictures, views = torch.randn(5, 1, 7), torch.randn(1, 4, 7)
    assert turning.shares(pictures.expand(5, 4, 7)) == pytest.approx((1, 0, 0))
    assert turning.shares(views.expand(5, 4, 7)) == pytest.approx((0, 1, 0))
    added = turning.shares(pictures + views)
    assert added.both == pytest.approx(0) and 0.2 < added.view < 0.8
    mixed = turning.shares(torch.randn(5, 4, 700))
    assert sum(mixed) == pytest.approx(1)
    assert mixed.both == pytest.approx(4 * 3 / (5 * 4 - 1), abs=0.05)  # its degrees of freedom
    with pytest.raises(ValueError, match="two pictures and views"):
        turning.shares(torch.randn(1, 4))
    with pytest.raises(ValueError, match="all values are the same"):
        turning.shares(torch.ones(2, 2))


def test_around_asks_for_every_view():
    turned = objects.views(2, SIZE, objects.MEASURING_SEEDS)
    model = AppearanceFlow(SIZE, {1: 3}, **SMALL, code="canvas").eval()
    source, view = turned["frames"][:, 0], turned["views"][:, 0]
    made = turning.around(model, source, view, turned["views"])
    assert made.image.shape == (2, 18, 3, 32, 32) and made.flows[0].shape == (2, 18, 2, 16, 16)
    alone = model(source[1:], view[1:], turned["views"][1:, 7])
    torch.testing.assert_close(made.image[1, 7], alone.image[0], atol=1e-5, rtol=0)
    moved = warp(source[:1], upsample_flow(made.flows[-1][:1, 7], SIZE))
    torch.testing.assert_close(made.image[:1, 7], moved, atol=1e-5, rtol=0)
