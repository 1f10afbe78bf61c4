"""Two sources and their sum, people who stand still, what the extraction network sees."""

import pytest
import torch

from gfla.animation import Animation
from gfla.data.detector import Detector
from gfla.extraction import MotionExtraction
from gfla.scores import moving, ways
from gfla.street import recurrence


@pytest.mark.parametrize(
    ("masks", "sum_"), [((0, 0), 2), ((1, 0), 11), ((0, 1), 101), ((1, 1), 110), ((0.5, 0.5), 56)]
)
def test_the_two_blends_are_added(masks, sum_):
    assert recurrence.fused(1, 10, 100, *masks) == pytest.approx(sum_)


def test_who_stands_still_is_moved_by_the_detector_alone():
    first = moving.clips(2, 1, size=(32, 32))
    batch = recurrence.standing(2, 4, Detector(jitter=3.0), size=(32, 32))
    for name in ("frames", "clean_poses", "foreground", "reference_flow"):
        torch.testing.assert_close(batch[name][:, 3], batch[name][:, 0])
    assert not batch["previous_flow"][:, 1:].any()
    for name in ("flow", "visible"):
        torch.testing.assert_close(batch[f"previous_{name}"][:, 0], first[f"previous_{name}"][:, 0])
    assert not torch.allclose(batch["poses"][:, 3], batch["poses"][:, 0], atol=0.1)
    torch.testing.assert_close(batch["frames"][:, :1], first["frames"])


def test_somebody_who_stands_has_no_flicker_of_his_own():
    batch = recurrence.standing(1, 4, Detector(jitter=3.0), size=(32, 32))
    for way in (ways.copied, ways.warped, lambda b: ways.Painted(b["frames"], {}, {})):
        values = moving.scores(way(batch), batch).values
        for name in ("flicker", "jitter", "truth_warp_error"):
            assert float(values[name]) == 0


def test_without_its_norms_the_network_sees_81_frames_and_with_them_all():
    torch.manual_seed(0)
    network = MotionExtraction(4, 16).eval()
    inside = recurrence.moved_by(network, 60, 140, norms=False)
    moved = (inside > 1e-6).nonzero()[:, 0]
    assert len(inside) == 60
    assert (int(moved.min()), int(moved.max())) == (0, 59)
    edge = recurrence.moved_by(network, 100, 240, norms=False)
    assert (edge > 1e-6).nonzero()[:, 0].tolist() == list(range(20, 101))
    whole = recurrence.moved_by(network, 100, 240)
    assert (whole > 1e-6).all()
    assert whole[:20].max() < 0.5 * whole[20:101].max()
    assert isinstance(network.entrance_norm, torch.nn.Module)
    torch.testing.assert_close(recurrence.moved_by(network, 100, 240), whole)  # left as it was


def test_a_source_that_is_not_heard_has_no_say():
    batch = moving.clips(2, 3, size=(32, 32))
    torch.manual_seed(0)
    model = Animation((32, 32), {1: 3}, 3, 18, 4, 8, 3, 4, 8, 2, 4).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    said = recurrence.say(model, batch, 2)
    assert min(said.values()) > 1e-3
    deaf = type(model)(**model.arguments | {"memory": False}).eval()
    deaf.load_state_dict(model.state_dict())
    assert recurrence.say(deaf, batch, 2)["previous"] == 0
    one = {name: value[:1] for name, value in batch.items()}
    with pytest.raises(ValueError, match="frame 2 of 1 clips"):
        recurrence.say(model, one, 2)
    with pytest.raises(ValueError, match="frame 0 of 2 clips"):
        recurrence.say(model, batch, 0)


def test_profiles():
    assert recurrence.setting("cpu").live_clips > recurrence.setting("smoke").live_clips
    with pytest.raises(ValueError, match="unknown profile 'huge': choose one of smoke"):
        recurrence.setting("huge")
