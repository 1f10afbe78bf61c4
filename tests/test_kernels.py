"""Kernels: under Triton's interpreter, ahead of time for several GPUs, on a GPU if there is one.

Triton decides when it is first imported whether it interprets, and other tests may have imported
it in this process. So each of the three has a process of its own.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gfla import kernel_operators, kernels

HERE = Path(__file__).parent
CASES = HERE / "kernel_cases.py"
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


def run(folder, *command, **variables):
    """Run Python in a process of its own; its report is the message of a failure."""
    kept = {k: v for k, v in os.environ.items() if k not in ("TRITON_INTERPRET", "GFLA_BACKEND")}
    environment = kept | {"TRITON_CACHE_DIR": str(folder)} | variables
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True, text=True, env=environment, cwd=HERE.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    return done.stdout


def cases(folder, **variables):
    return run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", CASES, **variables)


@needs_triton
def test_every_case_under_the_interpreter(tmp_path):
    assert " passed" in cases(tmp_path, TRITON_INTERPRET="1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_every_case_on_a_cuda_device(tmp_path):
    assert " passed" in cases(tmp_path)


# What is compiled here is what would be launched: the arguments come from the plan of the launch.
AHEAD = """
import os
import torch
from gfla import kernel_operators, kernel_sources
from gfla import kernels as kernels_room

kernels = kernel_sources.load()  # before Triton itself: the room must find it alone
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

NUMBERS = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}
FEATURES = "source", "out", "grad"


def build(name, capability, dtype, n=0, size=0, margin=0, channels=128, **given):
    source = torch.empty(2, channels, 64, 48, device="meta")
    flow = torch.empty(2, 2, 64, 48, device="meta")
    weights = torch.empty(2, n * n, 64, 48, device="meta") if n else None
    hopper = capability >= 90
    told = kernel_operators.plan(name, source, flow, weights, margin, size, 2.0, hopper) | given
    kernel = kernels[name]
    types, compiled_in = {}, {}
    for argument in kernel.arg_names:
        value = told.get(argument)
        if argument.isupper() or value == 1 and isinstance(value, int):
            types[argument], compiled_in[argument] = "constexpr", value
        elif value is None:
            types[argument] = NUMBERS[dtype if argument in FEATURES else torch.float32]
        else:
            types[argument] = "i32" if isinstance(value, int) else "fp32"
    aligned = {
        (k,): [["tt.divisibility", 16]]
        for k, argument in enumerate(kernel.arg_names)
        if types[argument] == "i32" and told[argument] % 16 == 0 or types[argument][0] == "*"
    }
    built = triton.compile(
        ASTSource(kernel, types, compiled_in, aligned), target=GPUTarget("cuda", capability, 32)
    )
    assert len(built.asm["cubin"]) > 1000
    return built.asm["ptx"]


wide = build("gather", 80, torch.bfloat16, n=5)
assert "ld.global.v4" in wide, "features are not read sixteen bytes at a time"
build("gather", 90, torch.float32, n=3, WIDE=True)
build("gather", 75, torch.float16, size=4)
assert "add.f32" in build("scatter", 80, torch.bfloat16, n=5)
assert "add.v4.f32" in build("scatter", 90, torch.float32, n=3)
build("scatter", 75, torch.float16, size=4, WIDE=True)
build("slopes", 80, torch.bfloat16, n=5, channels=512)
build("slopes", 75, torch.float16, margin=2)
build("gaussian_slopes", 90, torch.bfloat16, size=4)

assert not kernels_room.available("cpu").ok
os.environ["TRITON_INTERPRET"] = "1"  # too late now
print(kernels_room.available("cpu").reason)
"""


@needs_triton
def test_every_kernel_compiles_ahead_of_time_and_interpreting_is_then_too_late(tmp_path):
    reason = run(tmp_path, "-c", AHEAD).strip()
    assert reason == "Triton was imported before TRITON_INTERPRET=1 was set in the environment"


# Where they can run


def test_a_device_that_will_not_do_is_told_with_the_reason(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for device in "cpu", torch.device("cpu"):
        ok, reason = kernels.available(device)
        assert not ok and "CUDA device" in reason and "TRITON_INTERPRET=1" in reason
    assert kernels.available("mps").reason == "the kernels run on a CUDA device, not on 'mps'"
    assert "nonsense" in kernels.available("nonsense").reason
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not kernels.available().ok  # None asks for the CPU then


@needs_triton
def test_an_old_or_absent_device_or_compiler_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert kernels.available("cuda") == (False, "there is no CUDA device 0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert "capability (6, 1)" in kernels.available("cuda").reason
    assert kernels.available("cuda:1").reason == "there is no CUDA device 1"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    bare, able = tmp_path / "bare", tmp_path / "able"
    for folder in bare, able:
        folder.mkdir()
    (able / "clang").touch(0o755)
    for cc, path, reason in [
        (None, able, ""),
        (None, bare, "install gcc or clang"),
        ("mycc", able, "CC='mycc' in the environment is none"),  # Triton asks for no other then
        (str(able / "clang"), bare, ""),
    ]:
        monkeypatch.setenv("PATH", str(path))
        monkeypatch.setenv("CC", cc) if cc else monkeypatch.delenv("CC", raising=False)
        found = kernels.available("cuda")
        assert found == kernels.available() and found.ok is (not reason)
        assert reason in found.reason


def test_without_triton_the_reason_is_how_to_install_it(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "gfla[kernels]" in kernels.available("cpu").reason


def test_a_call_that_cannot_run_says_why(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    f, flow = torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2, 2)
    with pytest.raises(RuntimeError, match="cannot run: .* CUDA device, not on 'cpu'.*'fast'"):
        kernels.warp(f, flow)
    with pytest.raises(TypeError, match="flow must be float32.*float64.*'fast'"):
        kernels.warp(f, flow.double())
    with pytest.raises(ValueError, match="n\\^2.*\\(1, 5, 2, 2\\)"):
        kernels.attend(f, flow, torch.ones(1, 5, 2, 2))
    with pytest.raises(ValueError, match="size must be even .* got 3"):
        kernels.gaussian_warp(f, flow, 3, 1.0)


def test_large_features_get_offsets_of_64_bits():
    flow = torch.empty(1, 2, 8, 8, device="meta")
    for channels, wide in (127, False), (128, True):
        source = torch.empty(1, channels, 4096, 4096, device="meta")
        assert kernel_operators.plan("gather", source, flow, None, 0, 0, 0.0)["WIDE"] is wide
