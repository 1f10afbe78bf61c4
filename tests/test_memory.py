"""Memory compared and recorded: what is kept of a comparison is what was found."""

import pytest
import torch

from gfla import ledger
from gfla.animation import Animation
from gfla.scores import moving, ways
from gfla.street import memory

SIZE = (32, 32)


def small(seed=0, **more):
    torch.manual_seed(seed)
    model = Animation(SIZE, {1: 3}, 3, 18, 4, 8, 3, 4, 8, 2, 4, **more).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("GFLA_ROOT", str(tmp_path_factory.mktemp("root")))
    memory.record(small(), small(1, memory=False), 2, 3)
    entry, rows = memory.recorded()
    patch.undo()
    return entry, rows


def test_a_record_gives_back_what_was_found(found):
    entry, rows = found
    for (name, look), one in rows.items():
        told = entry["results"]
        for key in ("l1", "flicker", "jitter", "flow_ratio", "first_l1", "detail"):
            if f"{name}, {look}, {key}" in told:
                expected = told[f"{name}, {look}, {key}"]
                assert moving.summary(one)[key] == pytest.approx(expected, rel=2e-3)
    assert entry["run"] == memory.RUN
    assert entry["settings"]["clips"] == 2


def test_every_way_is_recorded_where_it_means_something(found):
    _, rows = found
    clean, noisy = ({name for name, look in rows if look == one} for one in memory.LOOKS)
    always = {
        memory.OURS,
        memory.TWIN,
        "memory off",
        "true frame before",
        "true flow to it",
        "twin, ideal memory",
    }
    assert always <= clean
    assert not {"true pose now", "true pose before"} & clean
    assert always | {"true pose now", "true pose before"} <= noisy
    for names in (clean, noisy):
        assert len([name for name in names if name.endswith("softened")]) == 1
    for one in rows.values():
        assert one.values["flicker"].shape == (2,)
        assert one.by_frame["flicker"].shape == (2, 3)
        assert one.by_frame["flicker"][:, 0].isnan().all()


def test_differences_are_of_the_same_clips(found):
    _, rows = found
    one = memory.differences(rows, ["flicker", "growth"])
    assert set(one) == {(n, look) for n in ("flicker", "growth") for look in ("clean", "noisy")}
    ours, twin = (rows[name, "noisy"].values["flicker"] for name in (memory.OURS, memory.TWIN))
    assert one["flicker", "noisy"].mean == pytest.approx(float((ours - twin).mean()))
    only = memory.differences(rows, ["flicker"], memory.OURS, "true pose now")
    assert list(only) == [("flicker", "noisy")]


def test_beginnings_are_the_first_frames_and_the_rest(found):
    _, rows = found
    ours, twin = (rows[name, "noisy"].by_frame for name in (memory.OURS, memory.TWIN))
    told = memory.beginnings(rows).loc["noisy"]
    assert float(told["L1, frame 0"]) == pytest.approx(
        float((ours["l1"] - twin["l1"])[:, 0].mean()), abs=6e-5
    )
    for name, frame in (("flicker, frame 1", 1), ("flicker, later", 2)):
        by_hand = float((ours["flicker"] - twin["flicker"])[:, frame].mean())
        assert float(told[name]) == pytest.approx(by_hand, abs=6e-5)


def test_a_table_has_two_digits_and_dashes(found):
    _, rows = found
    text = memory.table(rows, ["l1", "previous_flow_ratio"])
    assert text.loc[f"{memory.TWIN}, clean", "previous_flow_ratio"] == "–"
    value = moving.summary(rows[memory.OURS, "clean"])["l1"]
    assert text.loc[f"{memory.OURS}, clean", "l1"] == f"{value:.2g}"


def test_the_sharper_way_is_softened_to_the_detail_of_the_other():
    batch = moving.clips(2, 3, size=SIZE)
    truth = lambda batch: ways.Painted(batch["frames"], {}, {})  # noqa: E731
    soft = ways.softened(truth, 0.6)
    for pair, first in (((truth, soft), True), ((soft, truth), False)):
        is_first, found = memory.as_soft(*pair, batch)
        assert is_first is first
        rows = [moving.summary(moving.scores(way(batch), batch)) for way in (found, soft)]
        assert rows[0]["detail"] == pytest.approx(rows[1]["detail"], rel=0.02)


def test_there_is_no_comparison_before_it_is_recorded(monkeypatch, tmp_path):
    monkeypatch.setenv("GFLA_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=memory.RUN):
        memory.recorded()
    assert ledger.runs() == []
