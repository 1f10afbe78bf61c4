"""Where attention lies and what a picture hangs on, on models whose answer is known."""

import pytest
import torch
from torch import nn

from gfla.ablation import gaze
from gfla.config import preset
from gfla.data import people
from gfla.model import GFLA, even
from gfla.types import Output


def tiny(name):
    torch.manual_seed(0)
    return GFLA(**even(preset("tiny").generator() | {"attention": name})).eval()


@pytest.fixture(scope="module")
def batch():
    return people.pairs(2, size=(32, 32), seed=people.MEASURING_SEEDS)


class Oracle(nn.Module):
    """A model that reads the source where it is told, in patches of one tap or nine."""

    class renderer:
        attention = nn.ModuleDict()

    def __init__(self, flow, weights):
        super().__init__()
        self.found = Output(None, (flow,), (), (weights,))

    def forward(self, *_):
        return self.found


def true_flow(batch, stride):
    """The truth of a level, in its own pixels."""
    there, seen = gaze._truth(batch, stride)
    return (there - gaze._centres(*there.shape[-2:], stride)) / stride, seen


def test_the_true_flow_is_right_and_reads_one_place(batch):
    flow, _ = true_flow(batch, 2)
    (found,) = gaze.gazes(Oracle(flow, torch.ones(2, 1, 16, 16)), batch)
    judged = gaze.judged(found, batch)
    assert found.stride == 2
    assert judged.error == judged.best == pytest.approx(0, abs=1e-4)
    assert judged.within == judged.read == judged.favourite == 1


def test_an_even_patch_reads_nine_places_and_a_fixed_tap_is_off_by_its_offset(batch):
    flow, _ = true_flow(batch, 2)
    even_ = gaze.judged(
        gaze.gazes(Oracle(flow, torch.full((2, 9, 16, 16), 1 / 9)), batch)[0], batch
    )
    assert even_.read == pytest.approx(9, rel=1e-4) and even_.error == pytest.approx(0, abs=1e-4)
    assert even_.favourite == pytest.approx(1 / 9)
    assert even_.within == pytest.approx(5 / 9, abs=1e-4)  # the corners are √2 positions away
    right = torch.zeros(2, 9, 16, 16)
    right[:, 5] = 1  # one to the right
    fixed = gaze.judged(gaze.gazes(Oracle(flow, right), batch)[0], batch)
    assert fixed.error == pytest.approx(2, abs=1e-4)  # one position of stride 2
    assert fixed.favourite == fixed.read == 1
    assert fixed.best == pytest.approx(0, abs=1e-4)  # the centre was in reach


def test_global_gazes_are_those_that_the_model_reports(batch):
    model = tiny("global")
    with torch.no_grad():
        output = model(batch["source"], batch["source_pose"], batch["target_pose"])
    found = gaze.gazes(model, batch)
    assert [one.stride for one in found] == [4, 2]
    for one, flow in zip(found, output.flows, strict=True):
        expected = (one.share[:, :, None] * one.where).sum(1)
        own = gaze._centres(*flow.shape[-2:], one.stride)
        assert torch.allclose(one.share.sum(1), torch.ones(()), atol=1e-5)
        assert torch.allclose((expected - own) / one.stride, flow, atol=1e-3)
    assert gaze.gazes(tiny("baseline"), batch) == []


def test_the_table_has_every_level_beside_those_that_know_nothing(batch):
    models = {name: tiny(name) for name in ("baseline", "global", "full")}
    table = gaze.gaze_table(models, batch)
    assert [who for who, _ in table.index] == [
        *["Global-Attn"] * 2, *["Full"] * 2, *["own place"] * 2, *["everywhere alike"] * 2
    ]  # fmt: skip
    assert list(table.loc["Full"].index) == [4, 2]
    assert table.loc[("everywhere alike", 2), "read"] == pytest.approx(256, rel=1e-4)
    assert table.loc[("own place", 2), "read"] == 1


@pytest.mark.parametrize(
    ("off", "reach", "left"), [(1.0, 0, 1.0), (1.0, 1, 0.0), (3.25, 1, 2.25), (3.25, None, 0.0)]
)
def test_help_moves_visible_vectors_towards_the_truth_and_no_farther_than_it_may(
    batch, off, reach, left
):
    model, asked = tiny("bilinear"), []
    true = [true_flow(batch, stride) for stride in (4, 2)]
    wrong = tuple(flow + off for flow, _ in true)
    masks = tuple(torch.full_like(flow[:, :1], 0.5) for flow in wrong)
    model.flow.forward = lambda *_: (wrong, masks)
    model.renderer.register_forward_pre_hook(lambda _, given: asked.append(given[2]))
    assert gaze.helped(model, batch, reach).shape == batch["source"].shape
    for flow, (truth, seen) in zip(asked[0], true, strict=True):
        error = (flow - truth).abs().movedim(1, -1)
        assert torch.allclose(error[seen], torch.tensor(left), atol=1e-4)
        assert torch.allclose(error[~seen], torch.tensor(off), atol=1e-4)


def test_a_picture_that_is_the_source_hangs_on_its_own_pixel(batch):
    class Copy(nn.Module):
        def forward(self, source, source_pose, target_pose):
            return Output(source.roll(3, -1), (), (), ())

    pixels = torch.tensor([[[10, 5]], [[20, 8]]])
    maps = gaze.traced(Copy(), batch, pixels)
    assert torch.equal(maps[0, 0].nonzero(), torch.tensor([[5, 7]]))
    assert gaze.near(maps, pixels - torch.tensor([3, 0]), radius=0.5) == 1
    assert gaze.near(maps, pixels, radius=2) == 0


def test_probes_are_visible_and_have_moved(batch):
    pixels = gaze.probes(batch, 5, least=3)
    assert pixels.shape == (2, 5, 2)
    for pair in range(2):
        for x, y in pixels[pair].tolist():
            assert batch["visible"][pair, 0, y, x] == 1
            assert batch["flow"][pair, :, y, x].norm() >= 3
    assert torch.equal(pixels, gaze.probes(batch, 5, least=3))
    far = gaze.probes(batch, 3, least=1000)
    lengths = batch["flow"].norm(dim=1) * batch["visible"][:, 0]
    for pair, ((x, y), *others) in enumerate(far.tolist()):
        assert lengths[pair, y, x] == lengths[pair].max() and others == [[x, y]] * 2
    unseen = batch | {"visible": torch.zeros_like(batch["visible"])}
    with pytest.raises(ValueError, match="nothing of pair 0 is visible"):
        gaze.probes(unseen, 1)


def test_the_trace_table_knows_what_chance_is(batch):
    pixels = gaze.probes(batch, 2, least=3)
    table = gaze.trace_table({"baseline": tiny("baseline"), "full": tiny("full")}, batch, pixels, 2)
    assert list(table.index) == ["Baseline", "Full", "everywhere alike"]
    assert ((table >= 0) & (table <= 1)).all(axis=None)
    chance = table.loc["everywhere alike"]
    assert chance["near own place"] <= 13 / 32**2 + 1e-6  # pixels of a disc of radius 2


def test_flows_of_the_finest_level_with_and_without_attention(batch):
    flow = torch.ones(2, 2, 16, 16)
    weights = torch.zeros(2, 9, 16, 16)
    weights[:, 3] = 1  # one to the left
    found = gaze.source_flows(Output(None, (flow,), (), (weights,)), (32, 32))
    assert found["flow"].unique().tolist() == [2]
    assert found["attended"][:, 0].unique().tolist() == [0]
    assert list(gaze.source_flows(Output(None, (flow,), (), (weights[:, :1],)), (32, 32))) == [
        "flow"
    ]
    assert gaze.source_flows(Output(None, (), (), ()), (32, 32)) == {}


def test_figures_have_a_row_per_pixel_and_per_pair(batch):
    models = {name: tiny(name) for name in ("baseline", "global", "bilinear", "full")}
    marks = gaze.landmarks(batch, 0, ("head", "torso"))
    for x, y in marks.values():
        assert batch["visible"][0, 0, y, x] == 1
    figure = gaze.draw_gazes(models, batch, 0, marks)
    assert len(figure.axes) == len(marks) * 4  # target, source, two levels
    with torch.no_grad():
        inputs = batch["source"], batch["source_pose"], batch["target_pose"]
        outputs = {name: model(*inputs) for name, model in models.items()}
    labels = [axes.get_xlabel() for axes in gaze.flow_strips(batch, outputs, (0, 1)).axes]
    assert "Full + attention" in labels and "Baseline" not in labels
