"""Published files converted: every network, the report, what is in the header, the command line."""

from __future__ import annotations

import re
from collections import OrderedDict

import oracle
import pytest
import torch
from test_published import GENERATORS, JUDGES, same

from gfla import cli, storage
from gfla.checkpoint import (
    import_published,
    import_published_discriminator,
    import_published_flow,
    import_published_motion,
    load_model,
    published_name,
)
from gfla.exchange import parity
from gfla.exchange.importing import convert, describe, examine, load_part
from gfla.exchange.layouts import KEYPOINT, PARTS, combinations, network, recognise
from gfla.exchange.released import LICENCE, RELEASED, candidates
from gfla.storage import CheckpointError

NETWORKS = {  # published network: (task, part) that its names tell
    **{whole: (task, "generator") for task, (whole, _) in GENERATORS.items()},
    **{flow: (task, "flow") for task, (_, flow) in GENERATORS.items() if flow},
    "ResDiscriminator_fashion": ("fashion", "discriminator"),
    "ResDiscriminator_market": ("market", "discriminator"),
    "ResDiscriminator_face_DV": ("face", "temporal"),
    "TemporalDiscriminator_dance_DV": ("dance", "temporal"),
    "KPInput2DGenerator": (KEYPOINT, "motion"),
}


def legacy(path, name: str, seed: int, prefix: str = "") -> dict[str, torch.Tensor]:
    """A file as PyTorch 1.0 wrote it, of random weights, with the layers' versions."""
    weights = oracle.weights(name, seed)
    state = OrderedDict((prefix + key, tensor) for key, tensor in weights.items())
    state._metadata = OrderedDict([("", {"version": 1})])
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return weights


@pytest.fixture(scope="module")
def market() -> dict[str, torch.Tensor]:
    return oracle.weights("PoseGenerator_market", 1)


# ---- which network -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_says_by_its_names_what_it_is(name, prefix):
    entries = oracle.keys(name)
    tensors = {prefix + e["key"]: torch.empty(e["shape"], device="meta") for e in entries}
    guess = recognise(tensors)
    assert (guess.task, guess.part) == NETWORKS[name]
    assert guess.alike == 1
    tensors[prefix + "more.running_mean"] = torch.zeros(3)
    del tensors[prefix + entries[4]["key"]]
    guess = recognise(tensors)
    assert (guess.task, guess.part) == NETWORKS[name]
    assert 0.9 < guess.alike < 1 or "alias_of" in entries[4]


def test_layouts_that_several_tasks_share_are_said():
    names = {e["key"]: torch.empty(e["shape"]) for e in oracle.keys("ResDiscriminator_fashion")}
    assert recognise(names).tasks == ("fashion", "shapenet", "face", "dance")
    assert recognise(names, task="dance").task == "dance"
    with pytest.raises(
        CheckpointError, match=r"of task 'market', part 'flow' has.*task 'fashion', part 'disc"
    ):
        recognise(names, "market", "flow")
    with pytest.raises(CheckpointError, match=r"no published network has names.*a, … \(1 in all"):
        recognise({"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="no task 'hats' with part None"):
        recognise(names, "hats")


def test_the_seven_released_models_have_a_network_for_each_of_their_files():
    assert len(RELEASED) == 7
    for one in RELEASED.values():
        assert one.files.keys() <= set(PARTS)
        assert {(one.task, part) for part in one.files} <= set(combinations())
        temporal = (one.task, "temporal") in combinations()
        assert ("temporal" in one.files) == temporal
    assert candidates(("dance",), "temporal") == ["fashionvideo", "iper"]
    assert candidates((KEYPOINT,), "motion") == []


@pytest.mark.parametrize(("task", "part"), [("fashion", "temporal"), ("hats", "generator")])
def test_networks_that_there_are_not_are_refused(task, part):
    with pytest.raises(ValueError, match=f"no task '{task}'.*choose one of"):
        network(task, part)
    with pytest.raises(ValueError, match="no part 'nose'"):
        network("fashion", "nose")


# ---- files to safetensors ------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "seed"), [("fashion", 0), ("market", 1), ("shapenet", 3),
                                            ("face", 4), ("dance", 5)])  # fmt: skip
def test_every_released_generator_converts_from_the_old_form(task, seed, tmp_path):
    """And every number of it arrives; what the model then computes is compared elsewhere."""
    path, out = tmp_path / "latest_net_G.pth", tmp_path / "model.safetensors"
    prefix = "module." if task in ("face", "dance") else ""
    weights = legacy(path, GENERATORS[task][0], seed, prefix)
    report = convert(path, out)
    assert (report.task, report.part, report.form) == (task, "generator", "legacy")
    assert report.recognised and report.alike == 1
    assert report.matched == report.expected
    assert report.numbers == report.expected_numbers
    assert len(report.fit.aliases) == len(weights) - report.expected
    assert not (report.fit.ignored or report.fit.derived or report.fit.disagreeing)
    names = {name for name, one in RELEASED.items() if one.task == task}
    assert set(report.released) == names
    _, header = storage.load_safetensors(out)
    assert header["licence"] == LICENCE and "non-commercial" in LICENCE
    assert header["source"]["file"] == "latest_net_G.pth"
    assert header["source"]["sha256"] == storage.sha256(path) == report.sha256
    assert header["report"]["numbers"] == report.numbers
    assert header["released"] == list(report.released)
    assert "no proof" in header["self_check"]
    assert re.search("agrees with the original|no golden arrays", header["parity"])
    model = load_model(out)
    assert not model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[published_name(name)]), name


@pytest.mark.parametrize("which", JUDGES)
def test_every_discriminator_converts_and_is_read_again(which, tmp_path):
    task, temporal = which
    path, out = tmp_path / "latest_net_D.pth", tmp_path / "d.safetensors"
    weights = legacy(path, JUDGES[which], 8, "module.")
    report = convert(path, out, task, "temporal" if temporal else "discriminator")
    assert report.matched == report.expected and not report.recognised
    assert same(load_part(out), import_published_discriminator(weights, task, temporal))
    with pytest.raises(CheckpointError, match="expected a 'GFLA'"):
        load_model(out)


def test_flow_and_motion_convert_and_are_read_again(tmp_path):
    path, out = tmp_path / "latest_net_G.pth", tmp_path / "part.safetensors"
    weights = legacy(path, "PoseFlowNetGenerator_market", 2)
    report = convert(path, out)
    assert (report.task, report.part) == ("market", "flow")
    assert same(load_part(out), import_published_flow(weights, "market"))
    weights = legacy(path, "KPInput2DGenerator", 6)
    assert convert(path, out, part="motion", force=True).task == KEYPOINT
    assert same(load_part(out), import_published_motion(weights))


def test_the_flow_of_a_whole_generator_leaves_the_rest(market):
    report = examine(market, part="flow")
    assert (report.task, report.part) == ("market", "flow")
    assert report.matched == report.expected
    (why,) = report.fit.ignored
    assert why == "not of this network"
    assert all(not key.startswith("flow_net.") for key in report.fit.ignored[why])


def test_converted_files_that_are_none_are_refused(tmp_path):
    other = tmp_path / "other.safetensors"
    storage.save_safetensors(other, {"a": torch.zeros(1)}, {"model": "GFLA"})
    with pytest.raises(CheckpointError, match=r"does not say which task.*python -m gfla import"):
        load_part(other)
    storage.save_safetensors(other, {"a": torch.zeros(1)}, {"task": "market", "part": "flow"})
    with pytest.raises(CheckpointError, match="does not fit this version's network"):
        load_part(other)


# ---- the report ----------------------------------------------------------------------------------


def test_the_report_names_every_oddity(market):
    odd = dict(market)
    del odd["target.outconv.conv1.bias"]  # its second name is there
    second = "flow_net.jump1.model.2.weight"
    odd[second] = odd[second] + 1
    odd |= {"source.block0.model.0.running_mean": torch.zeros(3), "counter": torch.zeros(())}
    odd["epoch"] = 12
    report = examine({f"module.{key}": value for key, value in odd.items()})
    assert report.fit.complete and report.matched == report.expected
    assert report.fit.renamed == ("module.target.outconv.model.2.bias",)
    assert report.fit.disagreeing == ("flow_net.jump1.conv1.weight",)
    assert report.fit.ignored == {
        "running statistics": ("module.source.block0.model.0.running_mean",),
        "not of this network": ("module.counter",),
    }
    assert report.others == ("module.epoch",)
    assert len(report.fit.aliases) == 7
    text = describe(report)
    for part in (
        "recognised by its names",
        "may be     market",
        "12,926,471 of 12,926,471 learned numbers",
        "1 taken under a second name: module.target.outconv.model.2.bias",
        "1 running statistics: module.source.block0.model.0.running_mean",
        "1 whose second name has other numbers (first taken): flow_net.jump1.conv1.weight",
        "entries of something else, ignored: module.epoch",
        LICENCE,
    ):
        assert part in text
    first = import_published(odd, "market").state_dict()["flow.jump.3.model.2.weight"]
    assert torch.equal(first, market["flow_net.jump1.conv1.weight"])


def test_the_report_of_a_file_that_does_not_fit_lists_what_is_missing(market):
    broken = dict(market)
    del broken["flow_net.output2.bias"], broken["source.encoder1.model.2.weight"]
    broken["target.attn1.fully_connect_layer.2.bias"] = torch.zeros(25)
    report = examine(broken)
    assert not report.fit.complete
    assert set(report.fit.missing) == {"flow_net.output2.bias", "source.encoder1.model.2.weight"}
    assert report.fit.wrong == ("target.attn1.fully_connect_layer.2.bias (25,), expected (9,)",)
    assert report.expected_numbers - report.numbers == 2 + 256 * 128 * 4 * 4 + 9
    assert "missing    2 not in the file" in describe(report)


def test_vectors_that_are_derived_are_counted():
    weights = oracle.weights("ResDiscriminator_market", 8)
    old = {key: value for key, value in weights.items() if not key.endswith("weight_v")}
    report = examine(old)
    assert (report.task, report.part) == ("market", "discriminator")
    assert len(report.fit.derived) == 10 and report.fit.complete
    old["conv.weight_u"] = torch.ones(7)  # of no use for that
    fitted = examine(old).fit
    assert fitted.missing == ("conv.weight_v",)
    assert fitted.wrong == ("conv.weight_u (7,), expected (1,)",)


def test_the_face_judge_of_another_first_block_is_recognised_and_said(tmp_path):
    strange = oracle.weights("ResDiscriminator_face_DV", 8) | {
        "block0.model.1.weight_orig": torch.randn(32, 9, 3, 3),
        "block0.model.1.weight_v": torch.randn(81),
        "block0.shortcut.1.weight_orig": torch.randn(32, 9, 1, 1),
        "block0.shortcut.1.weight_v": torch.randn(9),
    }
    torch.save(strange, tmp_path / "latest_net_D_V.pth")
    report = convert(tmp_path / "latest_net_D_V.pth", tmp_path / "d.safetensors")
    assert (report.task, report.part) == ("face", "temporal")
    assert report.fit.untrained == ("block0.model.1", "block0.shortcut.1")
    assert "2 layers of another shape" in describe(report)
    _, header = storage.load_safetensors(tmp_path / "d.safetensors")
    assert header["report"]["untrained"] == ["block0.model.1", "block0.shortcut.1"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (torch.full((2,), torch.nan), "not finite"),
        (torch.zeros(2, dtype=torch.int64), "holds torch.int64"),
    ],
)
def test_numbers_that_cannot_be_weights_are_refused(market, bad, said):
    with pytest.raises(CheckpointError, match=rf"flow_net\.output2\.bias holds.*{said[-8:]}"):
        import_published(market | {"flow_net.output2.bias": bad}, "market")


def test_the_wrong_task_is_answered_with_the_right_one(market):
    with pytest.raises(CheckpointError, match="seems to be of task 'market', part 'generator'"):
        import_published(market, "fashion")
    with pytest.raises(CheckpointError, match="seems to be of task 'market', part 'generator'"):
        import_published_discriminator(market)
    with pytest.raises(CheckpointError, match="it resembles none of the published networks"):
        import_published({"a": torch.zeros(1)}, "market")
    assert import_published(market, None).size == (128, 64)


# ---- parity and self-check -----------------------------------------------------------------------


def test_the_random_weights_are_those_of_the_golden_arrays(market):
    found = parity.random_weights("market", "generator", 1)
    assert all(torch.equal(found[key], market[key]) for key in found)
    assert len(market) - len(found) == 8  # second names


def test_parity_is_measured_and_a_difference_is_seen(monkeypatch, tmp_path):
    found = parity.golden(KEYPOINT, "motion", oracle.FOLDER)
    assert found.passed and "agrees with" in found.line
    known = parity._GOLDEN[KEYPOINT, "motion"]._replace(seed=7)
    monkeypatch.setitem(parity._GOLDEN, (KEYPOINT, "motion"), known)
    found = parity.golden(KEYPOINT, "motion", oracle.FOLDER)
    assert not found.passed and found.error > 0.1 and "DIFFERS" in found.line
    found = parity.golden("market", "generator", tmp_path)
    assert not found.passed and "not compared" in found.line


def test_the_self_check_sees_what_a_network_gives():
    weights = oracle.weights("KPInput2DGenerator", 6)
    net = import_published_motion(weights)
    one, again = (parity.self_check(net, KEYPOINT, "motion") for _ in range(2))
    assert one == again and one.finite and one.low < one.high
    net.exit.bias.data[3] += 0.1
    assert parity.self_check(net, KEYPOINT, "motion").digest != one.digest
    net.exit.bias.data[3] = torch.inf
    assert "NOT FINITE" in parity.self_check(net, KEYPOINT, "motion").line


@pytest.mark.parametrize("task", ["fashion", "shapenet", "face", "dance"])
def test_every_flow_estimator_can_be_checked(task):
    net = parity.imported(parity.random_weights(task, "flow", 3), task, "flow")
    check = parity.self_check(net, task, "flow")
    assert check.finite and check.spread > 0


# ---- the command line ----------------------------------------------------------------------------


def test_the_command_reports_converts_and_replaces_only_when_told_to(tmp_path, capsys):
    path, out = tmp_path / "latest_net_D.pth", tmp_path / "d.safetensors"
    legacy(path, "ResDiscriminator_market", 8)
    assert cli.main(["import", str(path)]) == 0
    said = capsys.readouterr().out
    assert "nothing written" in said and not out.exists()
    for part in ("task market, part discriminator", storage.sha256(path), LICENCE, "no proof"):
        assert part in said
    asked = ["import", str(path), "--task", "market", "--out", str(out)]
    assert cli.main(asked) == 0
    assert f"sha256 {storage.sha256(out)}" in capsys.readouterr().out
    assert cli.main(asked) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert cli.main([*asked, "--force"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (b"<html>Google Drive", [], "a web page instead of the file"),
        (b"", [], "an empty file"),
        (None, [], "no file"),
        ({"a": torch.zeros(2)}, [], "no published network has names"),
        ("judge", ["--task", "market", "--part", "flow"], "seems to be of task 'market', part 'd"),
        ("judge", ["--task", "fashion"], "task 'market', part 'discriminator'"),
        ("judge", ["--out", "d.pth"], "ends in .safetensors"),
        ("judge", ["--task", "market", "--part", "temporal"], "no task 'market' with temporal"),
    ],
)
def test_a_bad_file_is_one_clear_line(content, words, said, tmp_path, capsys):
    path = tmp_path / "latest_net_G.pth"
    if content == "judge":
        torch.save(oracle.weights("ResDiscriminator_market", 8), path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save(content, path)
    assert cli.main(["import", str(path), *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("gfla import: ") and error.count("\n") == 1
