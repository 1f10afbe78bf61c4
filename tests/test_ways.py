"""Ways to paint a clip: the model's own, with another memory, and mixtures known by hand."""

import pytest
import torch

from gfla.animation import Animation
from gfla.data.detector import NOISY
from gfla.scores import moving, ways

SIZE = (32, 32)


def small(seed=0, poses=18, **more):
    torch.manual_seed(seed)
    model = Animation(SIZE, {1: 3}, 3, poses, 4, 8, 3, 4, 8, 2, 4, **more).eval()
    for parameter in model.parameters():  # the start is so small that nothing can be told apart
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


@pytest.fixture(scope="module")
def batch():
    return moving.clips(2, 4, NOISY, size=SIZE, seed=30_000_003)


def test_a_painter_does_what_the_model_does(batch):
    model = small()
    clip = model(batch["poses"], batch["reference"], batch["reference_pose"])
    own = ways.painter(model)(batch)
    torch.testing.assert_close(own.image, clip.image)
    torch.testing.assert_close(own.flows["previous"], clip.flows[-2])
    torch.testing.assert_close(own.flows["reference"], clip.flows[-1])
    torch.testing.assert_close(own.masks["reference"], clip.masks[-1])


def test_switching_the_memory_off_is_the_model_without(batch):
    model = small()
    forgetful = small(memory=False)
    off = ways.painter(model, "reference")(batch)
    torch.testing.assert_close(off.image, ways.painter(forgetful)(batch).image)
    assert list(off.flows) == ["reference"]
    assert not torch.allclose(off.image, ways.painter(model)(batch).image, atol=1e-3)
    torch.testing.assert_close(off.image[:, 0], ways.painter(model)(batch).image[:, 0])


def test_the_truth_stands_in_for_the_frame_before(batch):
    model = small()
    told = ways.painter(model, "truth")(batch)
    clip = model(
        batch["poses"][:, 2:3], batch["reference"], batch["reference_pose"],
        batch["frames"][:, 1], batch["poses"][:, 1],
    )  # fmt: skip
    torch.testing.assert_close(told.image[:, 2:3], clip.image)


def test_poses_may_be_true_for_the_frame_or_for_the_one_before(batch):
    model = small()
    true = batch | {"poses": batch["clean_poses"]}
    both = ways.painter(model, now="true", before="true")(batch)
    torch.testing.assert_close(both.image, ways.painter(model)(true).image)
    before = ways.painter(model, "truth", before="true")(batch)
    clip = model(
        batch["poses"][:, 2:3], batch["reference"], batch["reference_pose"],
        batch["frames"][:, 1], batch["clean_poses"][:, 1],
    )  # fmt: skip
    torch.testing.assert_close(before.image[:, 2:3], clip.image)
    assert not torch.allclose(before.image, ways.painter(model, "truth")(batch).image, atol=1e-4)


def test_the_frame_before_may_be_read_along_its_true_flow(batch):
    model = small()
    told = ways.painter(model, "truth", follow="true")(batch)
    torch.testing.assert_close(
        told.flows["previous"][:, 2],
        torch.nn.functional.avg_pool2d(batch["previous_flow"][:, 2], 2) / 2,
    )
    own = ways.painter(model, "truth")(batch)
    torch.testing.assert_close(told.flows["reference"], own.flows["reference"])
    torch.testing.assert_close(told.masks["previous"], own.masks["previous"])
    assert not torch.allclose(told.image, own.image, atol=1e-4)


def test_words_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="previous is 'nothing'"):
        ways.painter(small(), "nothing")
    with pytest.raises(ValueError, match="'found' or 'true'"):
        ways.painter(small(), now="guessed")
    with pytest.raises(ValueError, match="follow is 'none'"):
        ways.painter(small(), follow="none")


def constant(values):
    """A way whose frames are grey, one value each, and a scene that stands still."""
    frames = torch.tensor(values).view(1, -1, 1, 1, 1).expand(1, -1, 3, 8, 8)
    still = torch.zeros(1, len(values), 2, 8, 8)
    visible = torch.ones(1, len(values), 1, 8, 8)
    visible[..., 4:] = 0
    batch = {"previous_flow": still, "previous_visible": visible}
    return (lambda _: ways.Painted(frames, {}, {})), batch


def test_a_memory_keeps_its_share_where_the_past_is_seen():
    way, batch = constant([0.0, 0.8, 0.0])
    kept = ways.remembering(way, 0.25)(batch).image[0, :, 0, 0]
    torch.testing.assert_close(kept[:, 0], torch.tensor([0.0, 0.6, 0.15]))
    torch.testing.assert_close(kept[:, -1], torch.tensor([0.0, 0.8, 0.0]))


def test_a_memory_follows_the_flow():
    frames = torch.zeros(1, 2, 3, 4, 8)
    frames[0, 0, :, :, 2] = 1.0
    flow = torch.zeros(1, 2, 2, 4, 8)
    flow[:, :, 0] = -3.0  # what is at x was at x - 3
    batch = {"previous_flow": flow, "previous_visible": torch.ones(1, 2, 1, 4, 8)}
    kept = ways.remembering(lambda _: ways.Painted(frames, {}, {}), 1.0)(batch).image
    assert kept[0, 1, 0, 0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]


def test_softening_mixes_with_the_mean_of_nine():
    spot = torch.zeros(1, 1, 3, 5, 5)
    spot[..., 2, 2] = 0.9
    soft = ways.softened(lambda _: ways.Painted(spot, {"reference": spot}, {}), 0.5)({})
    assert soft.image[0, 0, 0, 2].tolist() == pytest.approx([0, 0.05, 0.5, 0.05, 0])
    assert soft.flows["reference"] is spot


def test_once_paints_a_batch_once():
    asked = []
    way = ways.once(lambda batch: asked.append(batch) or ways.copied(batch))
    one, other = (moving.clips(1, 1, size=SIZE, seed=seed) for seed in (1, 2))
    first = way(one)
    assert way(one) is first
    assert way(other) is not first
    assert len(asked) == 2
