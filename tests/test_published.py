"""The published layout: names of every network, and files as they are found in the wild."""

from __future__ import annotations

import os
import re

import numpy as np
import oracle
import pytest
import torch

from gfla.checkpoint import (
    import_published,
    import_published_discriminator,
    import_published_flow,
    import_published_motion,
    published_name,
)
from gfla.discriminator import Discriminator
from gfla.exchange.published import DISCRIMINATORS
from gfla.extraction import MotionExtraction
from gfla.model import TASKS, build, parameters
from gfla.storage import CheckpointError

GENERATORS = {  # task: the published network, and that of its flow alone
    "fashion": ("PoseGenerator_fashion", "PoseFlowNetGenerator_fashion"),
    "market": ("PoseGenerator_market", "PoseFlowNetGenerator_market"),
    "shapenet": ("ShapeNetGenerator", "ShapeNetFlowNetGenerator"),
    "face": ("FaceGenerator", None),
    "dance": ("DanceGenerator", None),
}
JUDGES = {
    ("fashion", False): "ResDiscriminator_fashion",
    ("market", False): "ResDiscriminator_market",
    ("shapenet", False): "ResDiscriminator_fashion",
    ("face", False): "ResDiscriminator_fashion",
    ("dance", False): "ResDiscriminator_fashion",
    ("face", True): "ResDiscriminator_face_DV",
    ("dance", True): "TemporalDiscriminator_dance_DV",
}


# ---- published files -----------------------------------------------------------------------------


def layout(network: str) -> dict[str, tuple[int, ...]]:
    """Published keys and shapes, each tensor once."""
    entries = oracle.keys(network)
    return {e["key"]: tuple(e["shape"]) for e in entries if "alias_of" not in e}


def named(network: torch.nn.Module, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Our own shapes under their published keys."""
    state = network.state_dict()
    return {published_name(prefix + name): tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("task", TASKS)
def test_our_names_and_the_published_ones_are_the_same_set(task):
    with torch.device("meta"):
        model = build("full", task)
    whole, flow = GENERATORS[task]
    assert named(model) == layout(whole)
    if flow:
        assert named(model.flow, "flow.") == layout(flow)


@pytest.mark.parametrize("which", DISCRIMINATORS)
def test_discriminators_have_the_published_names(which):
    assert named(DISCRIMINATORS[which]()) == layout(JUDGES[which])


def test_the_motion_network_has_the_published_names():
    assert named(MotionExtraction(), "motion.") == layout("KPInput2DGenerator")


@pytest.mark.parametrize(
    ("task", "number"),
    [
        ("fashion", 14_047_395),
        ("market", 12_926_471),
        ("shapenet", 14_341_323),
        ("face", 16_906_667),
        ("dance", 23_510_195),
    ],
)
def test_the_papers_models_have_the_papers_size(task, number):
    with torch.device("meta"):
        assert parameters(build("full", task)) == number


def test_the_ablation_of_the_other_tasks():
    """Of the same size where there is one, and refused by name where there is none."""
    for name, task in (("bilinear", "dance"), ("bilinear", "face"), ("baseline", "shapenet")):
        with torch.device("meta"):
            full, other = (parameters(build(which, task)) for which in ("full", name))
        assert other != full and abs(other / full - 1) < 0.1, (name, task)
    for task in ("dance", "face"):
        with pytest.raises(ValueError, match=r"an animation has one of \['bilinear', 'full'\]"):
            build("global", task)


def test_the_papers_other_networks_have_their_size():
    assert parameters(MotionExtraction()) == 1_834_786
    assert parameters(DISCRIMINATORS["face", True]()) == 665_537
    assert parameters(DISCRIMINATORS["dance", True]()) == 1_032_961
    assert {parameters(DISCRIMINATORS[t, False]()) for t in ("shapenet", "face", "dance")} == {
        664_577
    }


def test_a_name_of_neither_network_is_refused():
    with pytest.raises(KeyError, match="no published name"):
        published_name("encoder.weight")


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    return oracle.weights("PoseGenerator_market", 1)


def test_import_takes_the_files_that_are_around(published, tmp_path):
    state = torch.get_rng_state()
    model = import_published(published, "market")
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    prefixed = {f"module.{key}": value for key, value in published.items()}
    assert same(import_published(prefixed, "market"), model)
    without = {key: value for key, value in published.items() if ".conv1." not in key}
    assert same(import_published(without, "market"), model)
    without = {k: v for k, v in published.items() if not re.search(r"(jump\d|conv)\.model", k)}
    assert len(without) == len(published) - 8
    assert same(import_published(without, "market"), model)
    more = {"source.block0.model.0.running_mean": torch.zeros(3), "counter": torch.zeros(())}
    assert same(import_published(published | more, "market"), model)
    torch.save(published, tmp_path / "latest_net_G.pth")
    assert same(import_published(tmp_path / "latest_net_G.pth", "market"), model)
    assert same(import_published_flow(str(tmp_path / "latest_net_G.pth"), "market"), model.flow)


def test_import_copies_and_does_not_share(published):
    model = import_published(published, "market")
    key = published_name("flow.encoder.1.model.2.bias")
    before = published[key].clone()
    model.flow.encoder["1"].model[2].bias.data.add_(1)
    assert torch.equal(published[key], before)


def test_import_lists_every_key_that_is_missing_or_of_another_shape(published):
    broken = dict(published)
    del broken["flow_net.output2.bias"], broken["source.encoder1.model.2.weight"]
    broken["target.attn1.fully_connect_layer.2.bias"] = torch.zeros(25)
    with pytest.raises(CheckpointError) as caught:
        import_published(broken, "market")
    for part in (
        "2 keys are missing",
        "flow_net.output2.bias",
        "source.encoder1.model.2.weight",
        "target.attn1.fully_connect_layer.2.bias (25,), expected (9,)",
        "check that the task",
    ):
        assert part in str(caught.value)
    with pytest.raises(CheckpointError, match=r"flow_net\.output1\.weight"):
        import_published(published, "fashion")


def test_an_absent_weight_v_is_derived_from_u():
    weights = oracle.weights("ResDiscriminator_market", 8)
    old = {key: value for key, value in weights.items() if not key.endswith("weight_v")}
    network = import_published_discriminator(old, "market")
    assert not network.training
    layer = network.encoder["2"].model[3]
    v = layer.weight.flatten(1).T @ layer.weight_u
    torch.testing.assert_close(layer.weight_v, (v / v.norm()).detach())
    kept = import_published_discriminator(weights, "market").encoder["2"].model[3]
    assert torch.equal(kept.weight_v, weights["encoder0.model.3.weight_v"])
    with pytest.raises(CheckpointError, match=r"block0\.model\.1\.weight_u"):
        import_published_discriminator({k: v for k, v in old.items() if "weight_u" not in k})


def test_other_tasks_are_refused_with_those_that_are_there(published):
    with pytest.raises(ValueError, match=r"no task 'hats'.*fashion.*market"):
        import_published(published, "hats")
    with pytest.raises(ValueError, match=r"no task 'hats'.*fashion.*market"):
        import_published_discriminator({}, "hats")
    with pytest.raises(ValueError, match=r"temporal=True: choose one of \['dance', 'face'\]"):
        import_published_discriminator({}, "fashion", temporal=True)


def test_every_tensor_of_two_flow_estimators_arrives():
    """From a file of several graphics cards, with its prefix, and the flow alone from the same.

    The other tasks: tests/test_importing.py, by way of a file.
    """
    layers = oracle.weights("DanceGenerator", 5)
    weights = {f"module.{key}": value for key, value in layers.items()}
    model = import_published(weights, "dance")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights["module." + published_name(name)]), name
    assert same(import_published_flow(weights, "dance"), model.flow)
    one = next(key for key in weights if "reference.encoder1" in key)
    del weights[one]
    with pytest.raises(CheckpointError, match=re.escape(one.removeprefix("module."))):
        import_published(weights, "dance")


def test_the_motion_network_arrives():
    weights = oracle.weights("KPInput2DGenerator", 6)
    network = import_published_motion({f"module.{key}": value for key, value in weights.items()})
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, weights[published_name(f"motion.{name}")]), name
    del weights["kp_input.shrink.bias"]
    with pytest.raises(CheckpointError, match=r"kp_input\.shrink\.bias"):
        import_published_motion(weights)


def test_the_face_judge_of_another_first_block_arrives_with_a_warning():
    """Only there, only in its first block, and the rest is the file's."""
    weights = oracle.weights("ResDiscriminator_face_DV", 8)
    whole = import_published_discriminator(weights, "face", temporal=True)
    assert isinstance(whole, Discriminator) and whole.channels == 6
    strange = weights | {
        "block0.model.1.weight_orig": torch.randn(32, 9, 3, 3),
        "block0.model.1.weight_v": torch.randn(81),
        "block0.shortcut.1.weight_orig": torch.randn(32, 9, 1, 1),
        "block0.shortcut.1.weight_v": torch.randn(9),
    }
    said = r"'block0\.model\.1', 'block0\.shortcut\.1'\] have another shape.*stay untrained"
    with pytest.warns(UserWarning, match=said):
        found = import_published_discriminator(strange, "face", temporal=True)
    differ = {
        published_name(name).rpartition(".")[0]
        for name, tensor in found.state_dict().items()
        if not torch.equal(tensor, whole.state_dict()[name])
    }
    assert differ == {"block0.model.1", "block0.shortcut.1"}
    del strange["block0.model.3.bias"]
    with pytest.raises(CheckpointError, match=r"block0\.model\.3\.bias"):
        import_published_discriminator(strange, "face", temporal=True)
    with pytest.raises(CheckpointError, match=r"block0\.model\.1\.weight_orig \(32, 6"):
        import_published_discriminator(weights, "face")


class _Attack:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_files_that_are_no_weights_are_refused_and_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file .*net_G\.pth"):
        import_published("net_G.pth")
    for name, content in (("attack.pth", _Attack()), ("list.pth", [1, 2]), ("empty.pth", {})):
        torch.save(content, name)
        with pytest.raises(CheckpointError):
            import_published(name)
    assert not (tmp_path / "executed").exists()
    (tmp_path / "cut.pth").write_bytes((tmp_path / "list.pth").read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="download it again"):
        import_published("cut.pth")


# ---- parity --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "seed"), [("face", 4), ("dance", 5)])
def test_parity_of_the_video_generators_over_two_frames(task, seed, golden):
    arrays = golden(f"{task}_generator64.npz")  # dance: only where GFLA_GOLDEN has it
    model = import_published(oracle.weights(GENERATORS[task][0], seed), task)
    reference = oracle.picture(arrays["reference_u8"].numpy())
    with torch.no_grad():
        clip = model(arrays["bp_steps"], reference, arrays["bp_reference"])
    for t in (0, 1):
        oracle.compare(clip.image[:, t], arrays[f"img{t}"].numpy())
        for i in range(4):
            oracle.compare(clip.flows[i][:, t], arrays[f"flow_f{t}_{i}"].numpy(), relative=True)
    for i in range(4):
        oracle.compare(clip.masks[i][:, 0], arrays[f"mask_f0_{i}"].numpy())


def test_parity_of_the_motion_network():
    arrays = oracle.arrays("kpinput2d")
    network = import_published_motion(oracle.weights("KPInput2DGenerator", 6))
    with torch.no_grad():
        oracle.compare(network(torch.from_numpy(arrays["kp"])), arrays["out"], relative=True)


@pytest.mark.parametrize("task", ["dance", "face"])
def test_parity_of_the_temporal_discriminators_in_training_and_in_eval_mode(task, golden):
    arrays = golden(f"disc_{task}_DV.npz")  # face: only where GFLA_GOLDEN has it
    network = import_published_discriminator(oracle.weights(JUDGES[task, True], 8), task, True)
    clip = arrays["input"]

    def check_vectors(tag: str) -> None:
        vectors = dict(network.named_buffers())
        assert len(vectors) == sum(key.startswith(tag) for key in arrays) == 26
        for name, vector in vectors.items():
            torch.testing.assert_close(vector, arrays[tag + published_name(name)])

    with torch.no_grad():
        oracle.compare(network.train()(clip), arrays["out_train_1iter"].numpy())
        check_vectors("uv1_")
        for _ in range(40):  # the frames do not matter to u and v
            network(clip[..., :16, :16])
        check_vectors("buf_")
    clip.requires_grad_()
    scores = network.eval()(clip)
    oracle.compare(scores, arrays["out_eval"].numpy())
    loss = (scores - 1).square().mean()
    loss.backward()
    np.testing.assert_allclose(loss.item(), arrays["lsgan_real_loss"], rtol=1e-5)
    oracle.compare(clip.grad, arrays["d_input_sub2"].numpy(), relative=True)
