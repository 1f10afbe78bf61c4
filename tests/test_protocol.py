"""The protocol matrix: every convention changes what it should, one at a time."""

import math

import pandas
import pytest
import torch
import torch.nn.functional as F

from gfla import ledger, metrics
from gfla.config import preset
from gfla.data import people
from gfla.encoder import SmallEncoder
from gfla.model import GFLA
from gfla.scores import conventions, perceptual, protocol, resaving
from gfla.scores.conventions import REFERENCE, Measure, Scene
from gfla.scores.protocol import Onlooker, matrix
from gfla.scores.resaving import as_bytes, jpeg, resize


def mean_frechet(images, targets):
    """A distance of sets simple enough to know: between the mean colours."""
    a, b = (x.mean((0, 2, 3)) for x in (images, targets))
    return float((a - b).square().sum())


MEASURES = {
    "l1": Measure(metrics.l1),
    "psnr": Measure(metrics.psnr),
    "ssim": Measure(metrics.ssim),
    "near": Measure(metrics.l1, paper="lpips"),
    "sets": Measure(mean_frechet, paper="fid", of_sets=True),
}


@pytest.fixture(scope="module")
def scene():
    torch.manual_seed(0)
    drawn = people.pairs(4, size=(192, 192), seed=people.MEASURING_SEEDS)
    targets = resize(drawn["target"], (64, 64))
    images = (targets + 0.1 * torch.randn_like(targets)).clamp(-1, 1)
    foreground = F.interpolate(drawn["foreground"], size=(64, 64))
    return Scene(images, targets, drawn["target"], foreground, {"sources": drawn["source"]})


@pytest.fixture(scope="module")
def frame(scene):
    return matrix(scene, MEASURES)


def test_the_reference_is_the_metrics_of_rounded_pictures_and_has_changed_nothing(scene, frame):
    assert frame.index[0] == REFERENCE
    first = frame.iloc[0]
    ours, true = as_bytes(scene.images), as_bytes(scene.targets)
    for name in ("l1", "psnr", "ssim"):
        assert first[name] == getattr(metrics, name)(ours, true)
    for column in frame.columns:
        if column.endswith((" change", " gaps")):
            assert first[column] == 0, column


def test_every_row_has_a_number_or_a_reason(frame):
    assert frame.index.is_unique
    empty = frame[list(MEASURES)].isna().all(axis=1)
    assert (frame.note[empty] != "").all()
    assert [name for name in frame.index[empty] if not name.startswith("LPIPS")] == [
        "last incomplete batch of 64 left out"
    ]
    assert len(frame) > 40


def test_a_gap_is_the_papers_between_its_two_best(frame):
    row = frame.loc["ground truth as JPEG 75 4:2:0"]
    assert row["near gaps"] == pytest.approx(row["near change"] / (0.2406 / 0.2341 - 1))
    assert row["sets gaps"] == pytest.approx(row["sets change"] / (12.143 / 10.573 - 1))
    assert row["near change"] == pytest.approx(row["near"] / frame.near.iloc[0] - 1)
    assert row["psnr change"] == pytest.approx(row["psnr"] - frame.psnr.iloc[0])
    assert "l1 gaps" not in frame and math.isnan(Measure(metrics.l1).gap)


def test_a_convention_touches_what_it_is_about_and_nothing_else(frame):
    touched = lambda row: {name for name in MEASURES if not math.isnan(frame.loc[row, name])}  # noqa: E731
    assert touched("SSIM, data range 2") == {"ssim"}
    assert touched("L1 relative to the sum of both") == {"l1"}
    assert touched("against sources") == {"sets"}
    assert touched("half as many, mean of both halves") == {"sets"}
    assert touched("generated as JPEG 95 4:4:4") == set(MEASURES)


def test_jpeg_is_worse_the_harder_it_presses(scene):
    loss = [
        float((jpeg(scene.targets, quality, chroma) - as_bytes(scene.targets)).abs().mean())
        for quality, chroma in ((95, "4:4:4"), (95, "4:2:0"), (75, "4:4:4"), (75, "4:2:0"))
    ]
    assert 0 < loss[0] < loss[1] < loss[3] and loss[0] < loss[2] < loss[3]


def test_jpeg_of_one_side_costs_a_perfect_picture(scene):
    frame = matrix(scene._replace(images=scene.targets), {"l1": Measure(metrics.l1)})
    for who in ("ground truth", "generated"):
        assert frame.l1[f"{who} as JPEG 75 4:2:0"] > frame.l1[f"{who} as JPEG 95 4:4:4"] > 0
    assert frame.l1[REFERENCE] == frame.l1["both as JPEG 75 4:2:0"] == 0  # the same file twice
    assert frame.l1["both narrowed by nearest"] == 0
    assert frame.l1["ground truth narrowed and widened again by bilinear"] > 0
    assert frame.l1["ground truth shrunk by nearest"] > frame.l1["ground truth shrunk by bicubic"]


def test_half_the_brightness_of_a_byte_is_lost_by_cutting(scene, frame):
    u = (scene.images.double() + 1) * 127.5
    cut = (as_bytes(scene.images, cut=True).double() + 1) * 127.5
    assert float((u - cut).min()) >= -1e-4 and float((u - cut).max()) < 1
    assert float((u - cut).mean()) == pytest.approx(0.5, abs=0.03)
    rounded = (as_bytes(scene.images).double() + 1) * 127.5
    assert float((u - rounded).abs().max()) <= 0.5001
    assert frame.loc["generated cut to bytes, not rounded", "sets change"] != 0


def test_antialiased_shrinking_is_torchs_and_the_other_is_not(scene):
    ours = resize(scene.originals, (64, 64))
    torchs = F.interpolate(scene.originals, size=(64, 64), mode="bilinear", antialias=True)
    assert float((ours - torchs).abs().max()) < 2.5 / 127.5
    plain = resize(scene.originals, (64, 64), antialias=False)
    assert float((plain - torchs).abs().mean()) > 3 * float((ours - torchs).abs().mean())
    # Stripes of one pixel are grey to a filter that looks at all pixels, and not to nearest.
    stripes = torch.ones(1, 3, 64, 64)
    stripes[..., ::2] = -1
    assert float(resize(stripes, (16, 16)).abs().max()) < 0.1
    assert float(resize(stripes, (16, 16), "nearest").abs().min()) == 1


def test_the_box_and_the_borders():
    images = -torch.ones(1, 3, 32, 64)
    images[..., 8:24, 16:32] = 1
    person = (images[:, :1] > 0).float()
    assert float(resaving.cut_to_box(images, person).min()) == 1
    assert torch.equal(resaving.cut_to_box(images, 0 * person), images)
    assert [resaving.narrow_width(w) for w in (256, 128, 64, 16)] == [176, 96, 48, 16]


def test_what_lies_in_the_borders_does_not_count_when_they_are_cut_off(scene):
    images = scene.targets.clone()
    images[..., :8], images[..., -8:] = 1, -1
    frame = matrix(scene._replace(images=images), {"l1": Measure(metrics.l1)})
    assert frame.l1[REFERENCE] > 0 and frame.l1["borders cut off"] == 0


def test_variants_by_hand():
    a, b = torch.full((2, 3, 64, 64), 0.2), torch.full((2, 3, 64, 64), -0.4)
    assert conventions.relative_error(a, b) == pytest.approx(0.3 / 0.9)
    b[1] = 0.1  # errors 0.3 and 0.05
    assert conventions.pooled_psnr(a, b) == pytest.approx(-10 * math.log10((0.09 + 0.0025) / 2))
    assert metrics.psnr(a, b) > conventions.pooled_psnr(a, b)  # a mean of logarithms
    ramp = torch.linspace(-0.5, 0.5, 64).expand(1, 3, 64, 64)
    noisy = ramp + 0.01 * torch.randn(1, 3, 64, 64)
    span = float(noisy.max() - noisy.min()) / 2
    expected = metrics.ssim(noisy, ramp, data_range=span)
    assert conventions.ssim_own_range(noisy, ramp) == pytest.approx(expected)
    assert resaving.grey(torch.ones(1, 3, 2, 2)).unique().tolist() == pytest.approx([1])


def test_batches_of_64(scene):
    many = Scene(scene.images.repeat(17, 1, 1, 1), scene.targets.repeat(17, 1, 1, 1))
    many.images[64:] = many.targets[64:]
    frame = matrix(many, {"l1": Measure(metrics.l1)})
    row = frame.loc["last incomplete batch of 64 left out"]
    assert row.l1 == pytest.approx(frame.l1.iloc[0] * 68 / 64)
    assert frame.note["ground truth shrunk by nearest"] == "needs the ground truth at its own size"
    assert frame.note["background grey"] == "needs to know where the person is"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": torch.zeros(4, 3, 64, 32)}, r"\(4, 3, 64, 32\)"),
        ({"originals": torch.zeros(3, 3, 64, 64)}, "3 originals for 4"),
        ({"foreground": torch.zeros(4, 1, 32, 64)}, r"\(4, 1, 32, 64\)"),
    ],
)
def test_bad_input_is_named(scene, change, message):
    with pytest.raises(ValueError, match=message):
        matrix(scene._replace(**change), MEASURES)
    with pytest.raises(ValueError, match="no measures"):
        matrix(scene, {})


def test_one_look_gives_both_distances(scene):
    torch.manual_seed(0)
    encoder = SmallEncoder(widths=(8, 8, 8, 8, 8), out=(8, 8, 8)).requires_grad_(False)
    eyes = Onlooker(encoder)
    expected = perceptual.encoder_distance(scene.images, scene.targets, encoder)
    assert eyes.distance(scene.images, scene.targets) == pytest.approx(expected, rel=1e-6)
    assert eyes.distance(scene.targets, scene.targets) == 0  # what it remembers is not this pair
    images, targets = (torch.rand(n, 3, 32, 32) * 2 - 1 for n in (20, 23))
    expected = perceptual.encoder_frechet(images, targets, encoder)
    assert eyes.frechet(images, targets) == pytest.approx(expected, rel=1e-6)
    expected = perceptual.encoder_frechet(images, targets[:20], encoder)
    assert eyes.frechet(images, targets[:20]) == pytest.approx(expected, rel=1e-6)


def test_too_few_pictures_are_a_note(scene):
    needy = Measure(mean_frechet, "fid", of_sets=True, least=3)
    frame = matrix(scene, {"sets": needy})
    half = "half as many, mean of both halves"  # of 4 pairs 2 each
    assert frame.note[half] == "4 pictures are too few for sets"
    assert math.isnan(frame.sets[half]) and not math.isnan(frame.sets.iloc[0])
    halves = [
        mean_frechet(as_bytes(scene.images[part]), as_bytes(scene.targets[part]))
        for part in (slice(0, 2), slice(2, 4))
    ]
    found = matrix(scene, {"sets": needy._replace(least=2)}).sets[half]
    assert found == pytest.approx(sum(halves) / 2)


def test_people_are_drawn_large_and_shrunk(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = GFLA(**preset("tiny").generator()).eval()
    scene = protocol.people_scene(model, 3)
    assert scene.originals.shape == (3, 3, 112, 112) and scene.foreground.shape == (3, 1, 32, 32)
    assert torch.equal(scene.targets, resize(scene.originals, (32, 32)))
    drawn = people.pairs(3, size=(32, 32), seed=people.MEASURING_SEEDS)
    expected = model(drawn["source"], drawn["source_pose"], drawn["target_pose"]).image
    torch.testing.assert_close(scene.images, expected)
    sources = people.pairs(3, size=(112, 112), seed=people.MEASURING_SEEDS)["source"]
    assert torch.equal(scene.sets["the sources of the pairs"], resize(sources, (32, 32)))
    assert len({tuple(x.shape) for x in scene.sets.values()}) == 1 and len(scene.sets) == 3
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    frame = matrix(scene, {"l1": Measure(metrics.l1), "sets": MEASURES["sets"]})
    protocol.record(frame, {"model": "tiny", "pairs": 3})
    assert ledger.read("protocol")["results"]["l1"] == frame.l1.iloc[0]
    pandas.testing.assert_frame_equal(protocol.recorded(), frame, check_exact=False, rtol=1e-12)
    lines = protocol.show(frame).splitlines()
    assert lines[0].replace("|", " ").split() == ["convention", "l1", "sets"]
    name = "generated as JPEG 75 4:2:0"
    change, gaps = frame.loc[name, ["sets change", "sets gaps"]]
    line = next(line for line in lines if name in line)
    assert f"{100 * change:+.1f} % ({gaps:+.1f})" in line
