"""The judge: all pairs at once give the same, a perfect model is perfect, and absence is told."""

import functools
import math

import pytest
import torch
from torch import nn

from gfla import metrics
from gfla.data import people
from gfla.encoder import SmallEncoder
from gfla.model import GFLA
from gfla.sampling import warp
from gfla.scores import judging, perceptual
from gfla.scores.flow_metrics import endpoint_error, expected_offset, occlusion_scores, share_within
from gfla.scores.judging import METRICS, PictureJudge, judge, judge_images
from gfla.types import Output

SIZE, COUNT = (32, 32), 20  # more than one batch, and not a whole number of them


@pytest.fixture(autouse=True)
def no_published_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def encoders():
    torch.manual_seed(0)
    return {"judge": SmallEncoder((8,) * 5, (8,) * 3).requires_grad_(False).eval()}


def made(attention):
    torch.manual_seed(1)
    return GFLA(
        SIZE, {1: 3, 2: 3}, flow_base=4, flow_depth=3, base=4, depth=3, hidden=4,
        attention=attention,
    )  # fmt: skip


@functools.cache
def held_out():
    batches = [
        people.pairs(min(16, COUNT - k), SIZE, seed=people.MEASURING_SEEDS + k) for k in (0, 16)
    ]
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}


class Oracle(nn.Module):
    """Answers with what `answer` makes of the truth of the pairs that come next."""

    def __init__(self, answer):
        super().__init__()
        self.size, self.answer, self.seen = SIZE, answer, 0
        self.place = nn.Parameter(torch.zeros(()))

    def forward(self, source, source_pose, target_pose):
        part = slice(self.seen, self.seen + len(source))
        self.seen += len(source)
        batch = {key: value[part] for key, value in held_out().items()}
        torch.testing.assert_close(source, batch["source"])
        return self.answer(batch)


def test_all_metrics_are_those_of_all_pairs_at_once(encoders):
    model = made("full").eval()
    found, true = judge(model, COUNT, encoders=encoders), held_out()
    with torch.no_grad():
        output = model(true["source"], true["source_pose"], true["target_pose"])
    image, target, person = output.image, true["target"], true["foreground"]
    expected = {
        "score": metrics.score(
            image, target, true["source"], warp(true["source"], true["flow"]), true["visible"]
        )
    }
    for end, mask in (("", None), ("_foreground", person)):
        for metric in (metrics.l1, metrics.psnr, metrics.ssim):
            each = metric(image, target, mask, reduction="pairs")
            expected[metric.__name__ + end] = float(each.mean())
        distance = perceptual.encoder_distance(image, target, encoders["judge"], mask)
        expected["judge_distance" + end] = distance
        expected["judge_frechet" + end] = perceptual.encoder_frechet(
            image, target, encoders["judge"], mask
        )
    flow, offset = output.flows[-1], expected_offset(output.weights[-1])
    truth = true["flow"], true["visible"]
    zero = endpoint_error(0 * true["flow"], *truth)
    for end, one in (("", flow), ("_attended", flow + offset)):
        expected["flow_error" + end] = endpoint_error(one, *truth)
        expected["flow_ratio" + end] = expected["flow_error" + end] / zero
        expected["within_2px" + end] = share_within(one, *truth)
    scores = occlusion_scores(output.masks[-1], true["visible"], person)
    for name in ("iou", "average_precision", "visible_share"):
        expected["occlusion_" + name] = scores[name]
    assert found.results == pytest.approx(expected, rel=1e-4)
    for name, values in found.pairs.items():
        assert len(values) == COUNT
        assert sum(values) / COUNT == pytest.approx(found.results[name])
    without = {name for name in found.results if "frechet" in name or "occlusion" in name}
    assert set(found.results) - set(found.pairs) == without


def test_every_number_is_explained(encoders):
    found = judge(made("full"), COUNT, encoders=encoders)
    order = [name for name in METRICS if name in found.results]
    assert list(found.results) == order
    for name, metric in METRICS.items():
        assert metric.direction in ("lower", "higher", "none"), name
        assert metric.definition and metric.range and metric.source, name
    absent = set(METRICS) - set(found.results)
    assert {name.partition("_")[0] for name in absent} == {"augmented", "lpips", "fid"}


@pytest.mark.parametrize("attention", ["bilinear", "global", "baseline"])
def test_what_a_model_does_not_have_is_absent(attention, encoders):
    found = judge(made(attention), COUNT, encoders=encoders)
    assert not [name for name in found.results if name.endswith("_attended")]
    judged = {name for name in found.results if name.startswith(("flow", "within", "occlusion"))}
    if attention == "baseline":
        assert not judged
    else:
        assert {"flow_error", "flow_ratio", "within_2px", "occlusion_iou"} <= judged
    assert {"l1", "ssim_foreground", "score", "judge_frechet_foreground"} <= set(found.results)
    assert all(math.isfinite(value) for value in found.results.values())


def test_a_perfect_model_is_perfect(encoders):
    def truth(batch):
        return Output(batch["target"], (batch["flow"],), (batch["visible"],), ())

    found = judge(Oracle(truth), COUNT, encoders=encoders)
    results = found.results
    for name in ("l1", "l1_foreground", "judge_distance", "flow_error", "flow_ratio"):
        assert results[name] == pytest.approx(0, abs=1e-6), name
    for name in ("ssim", "within_2px", "occlusion_iou", "occlusion_average_precision"):
        assert results[name] == pytest.approx(1), name
    assert results["judge_frechet"] < 1e-8
    assert results["psnr"] == math.inf
    assert results["score"] < 0  # better than the true warp
    assert "psnr: 20 of 20 pairs left out, not finite" in found.notes


def test_copying_in_place_is_one_on_the_scale_and_the_true_warp_zero(encoders):
    def copy(batch):
        ones = torch.ones_like(batch["visible"])
        return Output(batch["source"], (0 * batch["flow"],), (ones,), ())

    def true_warp(batch):
        return Output(warp(batch["source"], batch["flow"]), (), (), ())

    copied = judge(Oracle(copy), COUNT, encoders={}).results
    assert copied["score"] == pytest.approx(1)
    assert copied["flow_ratio"] == pytest.approx(1)
    assert copied["occlusion_iou"] == pytest.approx(copied["occlusion_visible_share"])
    assert judge(Oracle(true_warp), COUNT, encoders={}).results["score"] == pytest.approx(0)


def test_where_the_attention_looks_counts_beside_the_flow():
    """A flow that is one pixel of its level off, and an attention that knows it."""

    def corrected(batch):
        level = nn.functional.avg_pool2d(batch["flow"], 2) / 2
        weights = torch.zeros(len(level), 9, 16, 16)
        weights[:, 5] = 1  # one pixel of the level to the right
        off = level - torch.tensor([1.0, 0.0])[:, None, None]
        return Output(batch["target"], (off,), (), (weights,))

    def exact(batch):
        level = nn.functional.avg_pool2d(batch["flow"], 2) / 2
        return Output(batch["target"], (level,), (), ())

    found = judge(Oracle(corrected), COUNT, encoders={}).results
    best = judge(Oracle(exact), COUNT, encoders={}).results
    for name in ("flow_error", "flow_ratio", "within_2px"):
        assert found[f"{name}_attended"] == pytest.approx(best[name], rel=1e-5)
    assert found["flow_error"] > found["flow_error_attended"] + 0.5
    assert found["within_2px"] < found["within_2px_attended"]


def test_the_mode_of_the_model_is_left_and_nothing_else_matters():
    model = made("full").train()
    first = judge(model, 3, encoders={})
    assert model.training
    torch.manual_seed(5)
    with torch.autocast("cpu"):
        assert judge(model, 3, encoders={}) == first
    broken = Oracle(lambda batch: 1 / 0).train()
    with pytest.raises(ZeroDivisionError):
        judge(broken, 3, encoders={})
    assert broken.training


def test_other_pairs_have_other_numbers():
    model = made("bilinear")
    first = judge(model, 3, encoders={}).results
    assert judge(model, 3, people.MEASURING_SEEDS + 100, encoders={}).results != first


def test_pictures_alone(encoders):
    true = held_out()
    found = judge_images(true["source"], true["target"], true["foreground"], encoders)
    assert found.results["l1"] == pytest.approx(metrics.l1(true["source"], true["target"]))
    assert "judge_frechet_foreground" in found.results
    plain = judge_images(true["source"], true["target"], encoders=encoders)
    assert {name for name in plain.results if name.endswith("foreground")} == set()
    for name, value in plain.results.items():
        assert found.results[name] == pytest.approx(value)


def test_a_pair_without_its_person_is_left_out_and_told(encoders):
    true = held_out()
    mask = true["foreground"].clone()
    mask[4] = 0
    found = judge_images(true["source"], true["target"], mask, encoders)
    rest = torch.arange(COUNT) != 4
    expected = metrics.ssim(true["source"][rest], true["target"][rest], mask[rest])
    assert found.results["ssim_foreground"] == pytest.approx(expected)
    assert math.isnan(found.pairs["ssim_foreground"][4])
    assert "ssim_foreground: 1 of 20 pairs left out, not finite" in found.notes
    assert math.isfinite(found.results["judge_frechet_foreground"])


def test_absence_is_told_without_naming_a_place(monkeypatch, tmp_path):
    def missing(name):
        raise FileNotFoundError(f"no encoder at {tmp_path}")

    monkeypatch.setattr(judging, "load_features", missing)
    true = held_out()
    found = judge_images(true["source"], true["target"])
    assert set(found.results) == {"l1", "psnr", "ssim"}
    told = "\n".join(found.notes)
    assert str(tmp_path) not in told
    for word in ("judge_distance", "augmented_frechet", "lpips", "fid: 20 pairs are too few"):
        assert word in told


def test_too_few_pairs_for_a_frechet_distance_are_told(encoders):
    true = held_out()
    found = judge_images(true["source"][:5], true["target"][:5], encoders=encoders)
    assert "judge_frechet" not in found.results and "judge_distance" in found.results
    assert [note for note in found.notes if note.startswith("judge_frechet: 5 pictures for 8")]


def test_the_shipped_judges_are_used_by_default():
    found = PictureJudge(3)
    assert set(found.encoders) == {"judge", "augmented"}
    assert not any(p.requires_grad for net in found.encoders.values() for p in net.parameters())


def half_a_judge():
    work, true = PictureJudge(4, encoders={}), held_out()
    work.add(true["source"][:2], true["target"][:2], true["foreground"][:2])
    work.add(true["source"][2:4], true["target"][2:4])
    return work.judgement()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: judge(made("full").half(), 2), "torch.float16"),
        (
            lambda: judge(made("full"), 2, first=7),
            "first is 7: measuring seeds begin at 30,000,000",
        ),
        (lambda: judge(made("full"), 0), "count is 0"),
        (half_a_judge, "2 pairs came with l1_foreground, 4 were expected"),
        (lambda: PictureJudge(2, {}).judgement(), "no pair came"),
        (lambda: judge_images(torch.ones(1, 1, 16, 16), torch.ones(1, 1, 16, 16)), r"\(B, 3"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
