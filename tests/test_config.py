"""Presets, overrides, checks and the digest of a configuration."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

import gfla.config
from gfla import ledger
from gfla.config import WITHOUT_FLOW, Config, from_dict, override, pick_device, preset
from gfla.discriminator import Discriminator
from gfla.features import JUDGES
from gfla.model import GFLA

PRESETS = ("tiny", "small", "fashion", "market")


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    "name, generator, discriminator",
    [("fashion", 14_047_395, 664_577), ("market", 12_926_471, 238_209)],
)
def test_paper_presets_build_the_papers_networks(name, generator, discriminator):
    config = preset(name)
    assert count(GFLA(**config.generator())) == generator
    assert count(Discriminator(**config.discriminator())) == discriminator


def test_paper_presets_hold_the_papers_numbers():
    config = preset("fashion")
    assert config.flow.weights() == {"sampling_correctness": 20.0, "affine_regularization": 0.01}
    assert config.full.weights() == {
        "sampling_correctness": 5.0,
        "affine_regularization": 0.0025,
        "l1": 5.0,
        "adversarial": 2.0,
        "perceptual": 0.5,
        "style": 500.0,
    }
    assert (config.flow.lr, config.optim.d_lr_ratio, config.data.batch) == (1e-4, 0.1, 8)
    assert config.optim.betas == (0.0, 0.999)
    assert all(isinstance(beta, float) for beta in config.optim.betas)
    assert config.flow.schedule == config.full.schedule == "constant"
    assert (config.optim.ema, config.optim.clip, config.flow.warmup) == (0, 0, 0)
    assert dict(config.features.correctness_taps)[3] == "relu4_1"
    market = preset("market")
    assert (market.data.size, market.model.kernel_sizes) == ((128, 64), ((2, 3),))


def test_small_model_ships_in_ten_megabytes():
    model = GFLA(**preset("small").generator())
    assert model.size == (64, 64)
    assert 1_000_000 < count(model) < 5_000_000  # two bytes each


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip_through_json(name):
    config = preset(name)
    again = from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.digest() == config.digest()


def test_digest_changes_with_any_field():
    config = preset("small")
    digests = {config.digest()}
    changes = {"batch": 4, "flow.lr": 3e-3, "style": 1.0, "log_every": 7, "size": 128}
    changes = {"full.style" if key == "style" else key: value for key, value in changes.items()}
    for key, value in changes.items():
        digests.add(override(config, {key: value}).digest())
    assert len(digests) == 1 + len(changes)
    assert all(re.fullmatch("[0-9a-f]{12}", digest) for digest in digests)


def test_overrides_flat_dotted_and_as_text():
    config = preset(
        "small", size="128x64", **{"flow.lr": "1e-3", "batch": "4", "kernel_sizes": "{2: 5}"}
    )
    assert (config.data.size, config.data.batch) == ((128, 64), 4)
    assert (config.flow.lr, config.model.kernel_sizes) == (1e-3, ((2, 5),))
    assert preset("small", size=128).data.size == preset("small", size="128").data.size
    assert preset("tiny", **{"data.source": "a/folder"}).data.source == "a/folder"
    assert preset("tiny", correctness_taps={1: "relu2_2", 2: "relu3_1"}).features.correctness_taps


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"bach": 4}, r"unknown field 'bach': choose one of .*data\.batch"),
        ({"lr": 1e-3}, r"'lr' is ambiguous: say one of flow\.lr, full\.lr"),
        ({"batch": "four"}, "batch='four': expected int"),
        ({"batch": 1.5}, "batch=1.5: expected int"),
        ({"betas": "0.5"}, "betas='0.5': expected"),
        ({"style_taps": "relu1_1"}, "style_taps='relu1_1': expected"),
        ({"batch": 0}, "batch=0: expected at least 1"),
        ({"size": 40}, r"size=\(40, 40\): H and W must divide by 16"),
        ({"kernel_sizes": {4: 3}}, r"levels lie in 1\.\.depth=3"),
        ({"kernel_sizes": {}}, "levels lie in"),
        ({"flow_depth": 2}, "levels lie below flow_depth=2"),
        ({"correctness_taps": {3: "relu4_1"}}, r"lack the level\(s\) \[1, 2\]"),
        ({"gan": "wgan"}, "gan='wgan': choose lsgan or hinge"),
        ({"precision": "float16"}, "precision='float16': choose float32, tf32 or bfloat16"),
        ({"compile": "yes"}, "compile='yes': choose off, default or graphs"),
        ({"layout": "nhwc"}, "layout='nhwc': choose auto, contiguous or channels_last"),
        ({"accumulate": 3}, "accumulate=3: .* batch=8 has to divide by it"),
        ({"accumulate": 2, "compile": "graphs"}, "'graphs' with accumulate=2.*compile='default'"),
        ({"ema": 1.0}, "ema=1.0: expected"),
        ({"flow.schedule": "linear"}, "flow.schedule='linear': choose constant or cosine"),
        ({"full.steps": 0}, "full.steps=0: expected at least 1"),
        ({"flow.l1": 5.0}, r"stage flow makes no picture: set its \['l1'\] to 0"),
        ({"checkpoint_every": 0}, "checkpoint_every=0: expected at least 1"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        preset("small", **changes)


def test_unknown_preset_and_stage_list_the_choices():
    with pytest.raises(ValueError, match="unknown preset 'large'.*appearance, dance.*views"):
        preset("large")
    with pytest.raises(ValueError, match="unknown stage 'both': choose one of flow, full"):
        preset("tiny").stage("both")


def test_a_configuration_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("tiny").data.batch = 3


def test_every_field_says_what_it_is():
    lines = Path(gfla.config.__file__).read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if re.match(r"    \w+: [\w\[\], .]+( =|  #)", line)]
    classes = {type(value) for value in vars(Config()).values() if dataclasses.is_dataclass(value)}
    assert len(named) == sum(len(dataclasses.fields(one)) for one in (Config, *classes))
    assert [line for line in named if "  # " not in line] == []


def test_device_auto_is_there_and_a_missing_one_is_refused():
    assert torch.zeros(1, device=pick_device("auto")).device.type in ("cuda", "mps", "cpu")
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'tpu' is not available here"):
        pick_device("tpu")


def test_a_model_without_flow_has_no_flow_losses():
    with pytest.raises(ValueError, match="has no flow to judge: set full.affine_regularization"):
        preset("small", attention="baseline")
    off = {"full.sampling_correctness": 0, "full.affine_regularization": 0}
    assert preset("small", attention="global", **off).model.attention == "global"


def test_the_ways_without_flow_are_those_that_are_not_guided():
    from gfla.attention import WAYS

    assert set(WITHOUT_FLOW) == {name for name, way in WAYS.items() if not way.guided}


def test_an_encoder_that_judges_cannot_train():
    for name in JUDGES:
        with pytest.raises(ValueError, match="must not train"):
            preset("small", **{"features.name": name})


def test_the_digest_of_an_older_record_stays_true():
    """A field that came later changes the digest only when it is set."""
    entry = ledger.read("people-full-first")
    assert "kernel_lr_ratio" not in entry["settings"]["optim"]
    assert from_dict(entry["settings"]).digest() == entry["config"]
    changed = override(from_dict(entry["settings"]), {"kernel_lr_ratio": 0.5})
    assert changed.digest() != entry["config"]
