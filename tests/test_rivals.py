"""The forms of the benchmark do the same work: same inputs, same results, the right backend."""

import pytest
import torch

from gfla.speed import bench_lessons, rivals
from gfla.speed.rivals import BILINEAR, CONVOLUTIONS, FAST, LITERAL, OURS, Size

SMALL = Size(channels=4, side=8, n=3, hidden=8)


def test_every_form_of_the_operator_agrees_and_the_floor_has_its_shape():
    forms = rivals.operator(SMALL)
    assert list(forms) == [LITERAL, FAST, CONVOLUTIONS]
    assert rivals.apart(forms)[FAST] < 1e-6
    assert forms[CONVOLUTIONS].run().shape == (1, 9, 8, 8)
    assert not forms[CONVOLUTIONS].compared


def test_a_form_that_differs_is_seen():
    forms = rivals.operator(SMALL)
    wrong = forms[FAST]._replace(run=lambda: forms[LITERAL].run() + 0.5)
    assert rivals.apart(forms | {FAST: wrong})[FAST] == pytest.approx(0.5)


def test_passes_leave_no_gradient_behind():
    form = rivals.operator(SMALL)[FAST]
    told = rivals.passes(form, "cpu")
    assert told["both"] == told["forward"] + told["backward"]
    assert all(one.grad is None for one in form.learned)
    assert list(rivals.passes(form, "cpu", inference=True)) == ["inference"]


def test_the_convolutions_give_a_gradient_to_all_that_is_learned():
    form = rivals.operator(SMALL)[CONVOLUTIONS]
    form.run().backward(form.upstream)
    assert all(one.grad is not None for one in form.learned)


def test_generators_share_their_weights_and_use_their_backend(monkeypatch):
    asked = []
    real = rivals.sampling._choose
    monkeypatch.setattr(
        rivals.sampling, "_choose", lambda *given: asked.append(real(*given)) or asked[-1]
    )
    forms = rivals.generator("tiny")
    assert list(forms) == [LITERAL, OURS, BILINEAR]
    with torch.no_grad():
        forms[LITERAL].run()
    assert set(asked) == {"reference"}
    asked.clear()
    with torch.no_grad():
        forms[OURS].run()
    assert "reference" not in asked
    assert rivals.apart(forms)[OURS] < 1e-5


def test_trainees_begin_alike():
    found = rivals.trainees("tiny", {LITERAL: {}, OURS: {}})
    first = {name: one.step() for name, one in found.items()}
    assert first[OURS]["total"] == pytest.approx(first[LITERAL]["total"], rel=1e-4)
    assert found[OURS].images == 2


def test_trainees_share_neither_encoder_nor_products(monkeypatch):
    """On a GPU, beginning one compiles its encoder in place and sets TF32 for all of them."""
    begun, products = [], []
    real = rivals.training.begin
    monkeypatch.setattr(
        rivals.training, "begin", lambda *given: begun.append(real(*given)) or begun[-1]
    )
    given = rivals.training.load_features("people")
    changes = {LITERAL: {"precision": "float32"}, OURS: {"precision": "bfloat16"}}
    found = rivals.trainees("tiny", changes, encoder=given)
    assert len({id(module) for module in (given, *(run.encoder for run in begun))}) == 3
    monkeypatch.setattr(
        rivals.training, "_set_products", lambda optim, _: products.append(optim.precision)
    )
    for name in (OURS, LITERAL, OURS):
        found[name].step()
    assert products == ["bfloat16", "float32", "bfloat16"]


def test_what_the_literal_form_takes_grows_with_the_patches():
    one, two = (rivals.literal_gib(Size(64, 512, n)) for n in (1, 2))
    assert two == pytest.approx(4 * one)
    assert rivals.literal_gib(Size(64, 512, 3)) > 5


def test_the_kept_grows_with_n_squared_for_the_literal_form_alone():
    small, large = (bench_lessons.kept(Size(16, 8, n, hidden=8)) for n in (3, 7))
    assert (large[LITERAL] - small[LITERAL]) / (49 - 9) > 4
    assert large[FAST] < 0.25 * large[LITERAL]


def test_coefficients_are_the_kernel_spread_by_the_fraction():
    flow = torch.zeros(1, 2, 1, 7)
    flow[:, 0] = 0.25
    for form in (LITERAL, FAST):
        found = bench_lessons.coefficients(torch.zeros(1, 1, 1, 7), flow, (3, 0), 3, form)
        wanted = torch.tensor([[0, 0, 1 / 4, 1 / 3, 1 / 3, 1 / 12, 0]])
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_result_and_gradients_agree():
    found = bench_lessons.errors(SMALL)
    assert len(found) == 6
    assert max(found.values()) < 1e-5


def test_a_race_and_its_profiles():
    assert set(bench_lessons.race(SMALL, 1)) == {"literal / ours", "ours / floor"}
    with pytest.raises(ValueError, match="unknown profile 'huge': choose one of smoke, cpu, gpu"):
        bench_lessons.setting("huge")
