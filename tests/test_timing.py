"""The gauges of the benchmark measure what they say, on calls whose answer is known."""

import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F

from gfla import meanwhile, storage
from gfla.speed import timing


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_laps_are_processor_time_of_each_part():
    short, idle, long = timing.laps(
        [lambda: burn(0.01), lambda: time.sleep(0.05), lambda: burn(0.04)]
    )
    assert 0.01 <= short < long
    assert long >= 0.04
    assert idle < 0.02


def test_forms_take_turns_and_each_begins_in_its_turn():
    ran = []
    forms = {name: lambda name=name: ran.append(name) or {"s": len(ran)} for name in "abc"}
    found = timing.alternate(forms, turns=3, warmup=1)
    assert ran[3:] == list("abc" + "bca" + "cab")
    assert {name: len(parts["s"]) for name, parts in found.items()} == {"a": 3, "b": 3, "c": 3}
    assert min(found["c"]["s"]) > 3  # the warm-up does not count


def test_a_short_row_goes_on_until_its_time_is_over_but_not_for_ever():
    form = {"a": lambda: {"s": 0.0}}
    assert len(timing.alternate(form, turns=1, seconds=60, most=4)["a"]["s"]) == 4
    assert len(timing.alternate(form, turns=2, seconds=0)["a"]["s"]) == 2


@pytest.mark.parametrize(("forms", "turns"), [({}, 1), ({"a": dict}, 0)])
def test_nothing_to_alternate_is_refused(forms, turns):
    with pytest.raises(ValueError, match="at least one of each"):
        timing.alternate(forms, turns)


def test_quartiles():
    assert timing.quartiles([7.0]) == (7.0, 7.0, 7.0)
    assert timing.quartiles([1.0, 2.0, 3.0, 4.0, 9.0])[1] == 3.0


def test_a_short_call_is_made_again_and_its_mean_counts():
    values = iter(range(1000))

    def short():
        time.sleep(0.01)
        return {"s": float(next(values))}

    found = timing.alternate({"a": short}, turns=1, warmup=0, least=0.05)
    calls = next(values)
    assert calls >= 2
    assert found == {"a": {"s": [(calls - 1) / 2]}}


def test_memory_rises_by_what_is_taken():
    # in a process of its own: one that has freed much takes from that, and nothing rises
    code = (
        "import torch\n"
        "from gfla.speed import timing\n"
        "kept = []\n"
        "print(timing.rise(lambda: kept.append(torch.ones(16 * timing.MIB))))  # 64 MiB\n"
        "print(timing.rise(lambda: None))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=storage.root()
    )
    more, nothing = map(float, done.stdout.split())
    assert 60 < more < 70
    assert nothing < 2


def test_saved_bytes_count_each_storage_once_and_no_input():
    x, weight = torch.ones(1, 2, 4, 4), torch.ones(3, 2, 1, 1, requires_grad=True)
    layer = lambda: F.conv2d(x.exp(), weight)  # noqa: E731
    assert timing.saved_bytes(layer, [weight]) == 4 * x.numel()
    assert timing.saved_bytes(layer) == 4 * (x.numel() + weight.numel())
    with torch.no_grad():
        assert timing.saved_bytes(layer) == 0


def test_multiplications_of_a_convolution():
    x, weight = torch.ones(1, 2, 6, 6), torch.ones(3, 2, 3, 3)
    assert timing.multiplications(lambda: F.conv2d(x, weight)) == 4 * 4 * 3 * 2 * 9


def test_shares_find_the_convolution_and_add_to_one():
    x, weight = torch.ones(1, 32, 64, 64), torch.ones(32, 32, 3, 3)
    F.conv2d(x, weight)
    found = timing.shares(lambda: F.conv2d(x, weight))
    assert sum(found.values()) == pytest.approx(1)
    assert found["convolutions"] > 0.8
    assert list(found) == [*timing.GROUPS, timing.OTHERS]


@pytest.mark.parametrize(
    ("operator", "group"),
    [
        ("aten::mkldnn_convolution", "convolutions"), ("aten::mm", "convolutions"),
        ("aten::_embedding_bag", "gathers"), ("aten::copy_", "copies, sums, fills"),
        ("aten::native_batch_norm", "norms"), ("aten::tanh", timing.OTHERS),
    ],
)  # fmt: skip
def test_operators_belong_to_one_group(operator, group):
    assert timing._group(operator) == group


def test_a_machine_is_named_with_its_threads():
    with meanwhile.threads(1):
        assert timing.machine("cpu").endswith("cpu, 1 threads")
