"""What a move changes is measured right where the answer is known."""

import numpy as np
import pytest
import torch

from gfla import ledger
from gfla.data import posing, stances
from gfla.data.posing import Pose
from gfla.interactive import live
from gfla.model import GFLA
from gfla.street import moves

SIZE = (32, 32)


def made(way="full"):
    torch.manual_seed(0)
    return GFLA(SIZE, {1: 3}, flow_base=4, flow_depth=3, base=4, depth=2, hidden=4,
                attention=way).eval()  # fmt: skip


class Obedient:
    """A painter whose flow is what the skeletons say, and whose picture is the person's place."""

    def __init__(self, painter, notices=True):
        self.size, self.source, self.notices = painter.size, painter.source, notices
        self._painter = painter

    def paint(self, pose):
        frame = self._painter.paint(pose)
        x, y = pose["neck"]
        way = np.subtract(self.source.pose["neck"], (x, y)) if self.notices else (0, 0)
        flow = torch.tensor(way, dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 16, 16) / 2
        seat = moves.distance(self.size, pose).clip(max=6)
        image = torch.tensor(seat / 6, dtype=torch.float32).expand(1, 3, *self.size)
        return frame._replace(pose=pose, output=frame.output._replace(image=image, flows=(flow,)))


@pytest.fixture(scope="module")
def painter():
    return live.Painter(made(), live.sources(SIZE)["held-out person 1"]())


def test_distance_is_that_of_the_nearest_bone(painter):
    points = [None] * 18
    points[1], points[0] = (4.0, 10.0), (10.0, 10.0)
    line = Pose(tuple(points), SIZE)
    away = moves.distance(SIZE, line)
    assert away[10, 4:11].tolist() == [0.0] * 7
    assert away[14, 7] == 4 and away[13, 14] == 5 and away[10, 1] == 3
    both = moves.distance(SIZE, line, posing.shifted(line, 0, 8))
    assert both[18, 7] == 0 and both[14, 7] == 4 and both[10, 7] == 0
    assert np.isinf(moves.distance(SIZE, line, joints=["left_wrist"])).all()


def test_a_change_is_the_difference_of_two_answers(painter):
    one = painter.paint(painter.source.pose)
    brighter = one.output._replace(
        image=one.output.image + 0.5, flows=tuple(f + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
                                                  for f in one.output.flows))  # fmt: skip
    found = moves.change(one, one._replace(output=brighter))
    np.testing.assert_allclose(found.picture, np.full(SIZE, 0.25), atol=1e-6)
    np.testing.assert_allclose(found.flow, np.full(SIZE, 10.0), atol=1e-4)  # 5 at stride 2
    assert moves.share_within(np.zeros(3), np.arange(3), 1) == 1.0
    blind = one._replace(output=one.output._replace(flows=()))
    assert moves.change(blind, blind).flow is None


def test_shares_of_a_turn_grow_to_one(painter):
    pose = stances.preset("stand", painter.source.pose)
    shares = moves.turn_shares(painter, pose, "left forearm", 90, (0, 5, 100))
    assert shares.shape == (3, 3) and (np.diff(shares, axis=0) >= 0).all()
    np.testing.assert_allclose(shares[-1], 1.0)
    with pytest.raises(ValueError, match="torso cannot be turned alone"):
        moves.turn_shares(painter, pose, "torso", 90, (1,))


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (-6, 2), (0, -4), (0, 0)])
def test_an_obedient_painter_is_off_by_nothing_and_a_blind_one_by_the_step(painter, dx, dy):
    pose = posing.shifted(painter.source.pose, 1, 0)
    good = moves.carried(Obedient(painter), pose, dx, dy)
    blind = moves.carried(Obedient(painter, notices=False), pose, dx, dy)
    assert good.flow == pytest.approx(0, abs=1e-4) and good.picture == pytest.approx(0, abs=1e-4)
    assert blind.flow == pytest.approx(np.hypot(dx, dy), abs=1e-4)
    assert (good.stayed > 0.01) == bool(dx or dy)
    assert good.shift == np.hypot(dx, dy)


def test_a_step_is_refused_that_cannot_be_predicted(painter):
    with pytest.raises(ValueError, match=r"\(3, 0\): give multiples of 2"):
        moves.carried(painter, painter.source.pose, 3, 0)
    baseline = live.Painter(made("baseline"), painter.source)
    with pytest.raises(ValueError, match="no flow"):
        moves.carried(baseline, painter.source.pose, 4, 0)
    assert moves.at_joints(baseline, painter.source.pose) is None


def test_the_flow_at_the_joints_is_held_against_the_skeletons(painter):
    pose = posing.shifted(painter.source.pose, 3, 4)
    good, blind = (moves.at_joints(Obedient(painter, sees), pose) for sees in (True, False))
    inside = sum(p is not None and 0 <= p[0] <= 31 and 0 <= p[1] <= 31 for p in pose.points)
    assert good.joints == inside >= 10 and good.moved == pytest.approx(5)
    assert good.off == pytest.approx(0, abs=1e-4) and blind.off == pytest.approx(5)


def test_the_own_pose_asks_for_the_source(painter):
    class Mirror:
        size, source = painter.size, painter.source

        def paint(self, pose):
            frame = painter.paint(pose)
            return frame._replace(output=frame.output._replace(image=self.source.image + self.off))

    mirror = Mirror()
    for mirror.off, expected in ((0.0, 0.0), (0.5, 0.25)):
        assert moves.own_pose_error(mirror) == pytest.approx(expected, abs=1e-6)


def test_a_known_pose_is_not_strange_and_a_shifted_one_by_its_shift(painter):
    like = stances.preset("stand", painter.source.pose)
    known = stances.random(1, like)
    poses = {"known": known, "beside": posing.shifted(known, 0.3, 0.4)}
    found = moves.strangeness(poses, like, known=3)
    assert found["known"] == 0 and found["beside"] == pytest.approx(0.5, abs=1e-6)
    usual = moves.held_out_poses(like, 2)
    assert list(usual) == ["30000000", "30000001"] and usual["30000000"] != usual["30000001"]
    with pytest.raises(ValueError, match="known is 0"):
        moves.strangeness(poses, like, known=0)


def test_times_are_laid_out_and_kept(painter, monkeypatch, tmp_path):
    monkeypatch.setattr(live, "available", lambda: {"Full": "x"})
    monkeypatch.setattr(live, "load", lambda name: made())
    monkeypatch.setattr(moves, "SIZES", (32,))
    monkeypatch.setattr(moves, "ANGLES", (0, 10))
    monkeypatch.setattr(ledger, "_runs", lambda: tmp_path)
    moves.record_latency()
    entry = ledger.read("latency")
    assert len(entry["load"]["before"]) == 3 and entry["settings"]["frames"] == 2
    rows = moves.recorded_rows(entry)
    assert list(rows) == [("Full", 32)] and rows["Full", 32]["frames"] == 2
    times = {"wall_median": 1.6, "wall_p10": 1.0, "wall_p90": 2.4, "process_median": 3.0}
    table = moves.latency_table({("Full", 32): times})
    assert "| Full  | 32 px   | 2           | 1 to 2          | 3              |" in table
