"""One trainer for every kind of model: what each reads, is held to, and is judged by."""

import pytest
import torch

from gfla import journal, measure, passes, step, streams, train
from gfla.config import preset
from gfla.data import procedural_sets
from gfla.encoder import SmallEncoder
from gfla.model import load
from gfla.storage import CheckpointError

CPU = torch.device("cpu")
TINY = {
    "people": {},
    "views": {"kind": "views", "source": "objects", "pose_channels": 21, "code": "canvas"},
    "appearance": {"kind": "appearance", "source": "objects", "pose_channels": 21}
    | {"full.adversarial": 0.0, "full.style": 0.0},
    "animation": {"kind": "animation", "source": "clips", "frames": 3, "batch": 1}
    | {"d_video": "differences", "full.temporal": 1.0},
    "faces": {"kind": "animation", "source": "portraits", "frames": 3, "batch": 1}
    | {"flows": "one", "pose_channels": 16, "d_video": "differences"},
}


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(1)
    return SmallEncoder().requires_grad_(False).eval()


def begin(name, encoder, stage="full", **changes):
    return train.begin(preset("tiny", **TINY[name] | changes), stage, 0, CPU, encoder)


def batch_of(training, number=0):
    config = training.config
    return streams.batches(config.data, 0, CPU, config.model.kind)(number)


@pytest.mark.parametrize("stage", ["flow", "full"])
@pytest.mark.parametrize("name", ["views", "appearance", "animation", "faces"])
def test_every_kind_trains_on_what_it_may_read(name, stage, encoder):
    training = begin(name, encoder, stage)
    batch = batch_of(training)
    assert set(batch) == set(passes.inputs(training.config.model.kind))
    before = {key: value.clone() for key, value in training.model.state_dict().items()}
    for number in range(2):
        logged = step.iterate(training, batch_of(training, number))
    assert training.step == 2 and logged["total"] > 0
    moved = {k for k, v in training.model.state_dict().items() if not torch.equal(v, before[k])}
    assert any(key.startswith("flow.") for key in moved)
    assert any(key.startswith("renderer.") for key in moved) == (
        stage == "full" and name != "appearance"
    )
    assert ("temporal" in logged) == (stage == "full" and name == "animation")


@pytest.mark.parametrize("name", ["views", "animation", "faces"])
def test_a_run_of_any_kind_goes_on_bit_for_bit(name, encoder, tmp_path):
    config = preset("tiny", **TINY[name])
    more = {"encoder": encoder, "device": "cpu", "progress": False}
    whole = train.fit(config, "full", tmp_path / "whole", steps=4, **more)
    train.fit(config, "full", tmp_path / "parts", steps=4, until=2, **more)
    parts = train.fit(config, "full", tmp_path / "parts", steps=4, **more)
    assert whole.finished and parts.finished
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[key]), key


FOLDERS = {
    "views": (procedural_sets.procedural_views, {"elevations": 1}),
    "appearance": (procedural_sets.procedural_views, {"elevations": 1, "kind": "car"}),
    "animation": (procedural_sets.procedural_videos, {"frames": 4}),
    "faces": (procedural_sets.procedural_faces, {"frames": 4}),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_an_epoch_of_a_small_data_set_on_disk(name, encoder, tmp_path):
    """The authors' layouts train as the procedural data do."""
    write, more = FOLDERS[name]
    write(tmp_path / "set", count=2, tests=1, size=(32, 32), seed=7, **more)
    changes = TINY[name] | {"source": str(tmp_path / "set"), "batch": 2, "measure_every": 0}
    if name == "animation":
        changes["pose_channels"] = 20  # joints and bones
    config = preset("tiny", **changes)
    folder = streams.open_folder(config.data, config.model.kind)
    steps = min(4, -(-len(folder) // 2))
    more = {"encoder": encoder, "device": "cpu", "progress": False, "steps": steps}
    done = train.fit(config, "full", tmp_path / "run", **more)
    assert done.finished and len(journal.read(tmp_path / "run")) == steps


def test_a_clip_is_judged_frame_by_frame_against_both_sources(encoder):
    training = begin("animation", encoder, batch=2)
    batch = batch_of(training)
    done = passes.run(training.model, "full", batch, "animation")
    previous, reference = done.judged
    assert done.frames == 3 and done.image.shape == done.target.shape == (6, 3, 32, 32)
    assert torch.equal(done.target[4], batch["frames"][1, 1])
    assert torch.equal(previous.source[4], batch["frames"][1, 0])
    assert torch.equal(previous.source[3], batch["reference"][1])  # the first has no other
    assert all(torch.equal(reference.source[k], batch["reference"][k // 3]) for k in range(6))
    assert len(previous.flows) == len(reference.flows) == 2
    assert not torch.equal(previous.flows[0], reference.flows[0])


def test_without_memory_the_reference_is_both_sources(encoder):
    training = begin("animation", encoder, memory=False)
    done = passes.run(training.model, "full", batch_of(training), "animation")
    assert torch.equal(done.judged[0].source, done.judged[1].source)
    held = next(measure.held_out(1, (32, 32), "cpu", "clips", 3))
    true = measure.truths(held, "animation", memory=False)
    assert torch.equal(true[0].flow, true[1].flow)


def test_truths_stand_in_the_order_of_what_is_judged():
    batch = next(measure.held_out(2, (32, 32), "cpu", "clips", 3))
    previous, reference = measure.truths(batch, "animation")
    assert (previous.name, reference.name) == ("previous_", "")
    assert torch.equal(previous.flow[1], batch["previous_flow"][0, 1])
    assert torch.equal(reference.visible[5], batch["reference_visible"][1, 2])


@pytest.mark.parametrize("form, length", passes.WINDOWS.items())
def test_the_window_of_frames_wanders_and_stays_inside(form, length):
    clips = torch.arange(8.0)[None, :, None, None, None].expand(2, 8, 3, 4, 4)
    firsts = set()
    for number in range(20):
        seen = passes.window(clips, number, form)
        if form == "volume":
            assert seen.shape == (2, 3, 6, 4, 4)
            firsts.add(float(seen[0, 0, 0, 0, 0]))
            assert torch.equal(seen[0, 0, :, 0, 0].diff(), torch.ones(5))
        else:
            assert seen.shape == (2, 6, 4, 4) and bool((seen == 1).all())
    if form == "volume":
        assert firsts == set(range(8 - length + 1))


def test_measuring_tells_of_both_sources_and_of_copying(encoder):
    training = begin("animation", encoder)
    found = measure.measure(training.model, "full", 2, CPU, training.config)
    assert {"measured_flow_ratio", "measured_previous_flow_ratio"} < set(found)
    held = next(measure.held_out(2, (32, 32), "cpu", "clips", 3))
    reference = held["reference"][:, None].expand_as(held["frames"])

    class Copying(torch.nn.Module):
        size, arguments = (32, 32), {"memory": True}

        def forward(self, poses, *_):
            flow = torch.zeros(len(poses), 3, 2, 16, 16)
            return type(training.model(poses, *_))(reference, (flow, flow), (), ())

    found = measure.measure(Copying(), "full", 2, CPU, training.config)
    for name in ("flow_ratio", "previous_flow_ratio", "l1_ratio", "copy_ratio"):
        assert found[f"measured_{name}"] == pytest.approx(1.0), name


def test_an_animation_begins_with_a_model_of_people(encoder):
    changes = {"size": 64, "kernel_sizes": {3: 3, 2: 3, 1: 3}, "depth": 3, "flow_base": 32}
    changes |= {"flow_cap": 128, "flow_depth": 4, "base": 32, "cap": 128, "true_colors": True}
    training = begin("animation", encoder, **changes)
    train.take_over(training.model, "people", "people")
    people = load("people").state_dict()
    taken = training.model.flow.state_dict()
    assert any(
        value.shape == people["flow.head.1.flow.weight"].shape
        and torch.equal(value, people["flow.head.1.flow.weight"])
        for value in taken.values()
    )
    with pytest.raises(CheckpointError):
        train.take_over(begin("animation", encoder).model, "people", "people")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": "video"}, "kind='video': choose one of people, views"),
        ({"code": "canvas"}, "code='canvas': a 'people' model has none"),
        ({"kind": "views"}, "source='people' has nothing for a 'views' model"),
        ({"source": "clips"}, "source='clips' has nothing for a 'people' model"),
        ({"full.temporal": 1.0}, "full.temporal: only the clips of an animation"),
        (TINY["animation"] | {"frames": 2}, "frames=2: d_video='differences' looks at 3"),
        (TINY["animation"] | {"d_video": "volume"}, "frames=3: d_video='volume' looks at 6"),
        ({"frames": 0}, "frames=0: expected at least 1"),
    ],
)
def test_fields_that_a_kind_does_not_know_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        preset("tiny", **changes)


def test_sample_strips_are_drawn_for_every_kind(encoder, tmp_path):
    for name in ("views", "animation"):
        training = begin(name, encoder, "full")
        path = tmp_path / f"{name}.png"
        kind = training.config.model.kind
        journal.draw(training.model, "full", batch_of(training), path, kind)
        assert path.read_bytes()[:4] == b"\x89PNG"
