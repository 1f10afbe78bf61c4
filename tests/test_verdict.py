"""Judgements of a model before held-out people, on pictures whose score is known."""

import pytest
import torch
from matplotlib.figure import Figure

from gfla.data.body import PARTS
from gfla.model import GFLA
from gfla.street import verdict


@pytest.fixture(scope="module")
def seen():
    torch.manual_seed(0)
    model = GFLA(
        (32, 32), {1: 3}, flow_base=4, flow_cap=8, flow_depth=2, base=4, cap=8, depth=1, hidden=4
    )
    return verdict.rendered(model.eval(), 3)


def test_rendered_holds_the_pairs_and_what_was_made_of_them(seen):
    assert seen["image"].shape == seen["target"].shape == (3, 3, 32, 32)
    assert seen["our_flow"].shape == (3, 2, 32, 32)
    assert seen["our_mask"].shape == seen["visible"].shape == (3, 1, 32, 32)
    assert not seen["image"].requires_grad
    assert not torch.equal(seen["true_warp"], seen["source"])


def test_the_anchors_of_the_scale(seen):
    assert verdict.score(seen, seen["true_warp"]) == 0
    assert verdict.score(seen, seen["source"]) == 1
    assert verdict.score(seen, seen["target"]) < 0  # the truth beats bilinear sampling


def test_every_part_belongs_to_one_group_and_is_scored_apart(seen):
    for part in PARTS:
        assert sum(part.endswith(words) for words in verdict.GROUPS.values()) == 1, part
    copied = verdict.score_by_part(seen | {"image": seen["source"]})
    assert list(copied) == list(verdict.GROUPS)
    assert all(score == pytest.approx(1) for score in copied.values())
    torso = torch.isin(
        seen["parts"], torch.tensor([PARTS.index("torso") + 1, PARTS.index("skirt") + 1])
    )
    mixed = torch.where(torso, seen["true_warp"], seen["source"])
    found = verdict.score_by_part(seen | {"image": mixed})
    assert found.pop("torso") == pytest.approx(0)
    assert all(score == pytest.approx(1) for score in found.values())


def test_person_error_counts_the_person_alone(seen):
    away = seen | {"image": torch.where(seen["foreground"] > 0, seen["target"], -seen["target"])}
    assert verdict.person_error(away).abs().max() == 0
    grey = {"image": torch.zeros(2, 3, 4, 4), "target": torch.ones(2, 3, 4, 4)}
    grey["target"][1] = 0.5
    grey["foreground"] = torch.ones(2, 1, 4, 4)
    assert verdict.person_error(grey).tolist() == [0.5, 0.25]


def test_visible_share_by_hand():
    visible, person = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    person[..., :2, :], visible[..., :1, :3] = 1, 1
    assert verdict.visible_share({"visible": visible, "foreground": person}).tolist() == [3 / 8]


def test_faults_are_drawn_a_row_each(seen):
    figure = verdict.faults(seen, [2, 0])
    assert isinstance(figure, Figure)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert [x for x in labels if x][:7] == [
        "source", "flow", "mask", "ours", "target", "visible", "error",
    ]  # fmt: skip
