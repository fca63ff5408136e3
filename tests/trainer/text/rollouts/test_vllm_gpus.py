"""GPUs of a vLLM server beside the trainer: which, how many, and how much of their memory.

No GPU is used here: the numbers of free memory are given.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.text.tiny import language_model
from trainer.engine.outcome import RunRefused
from trainer.spec import issues_in
from trainer.spec.operation import VllmSampler
from trainer.text.rollouts.engines.vllm.gpu_memory import (
    GIB,
    OVERHEAD,
    GpuMemory,
    gpu_names,
    gpu_share,
    server_bytes,
    warning,
)
from trainer.text.rollouts.engines.vllm.server import Launch


def command(launch: Launch) -> list[str]:
    return launch.command(Path("model"), Path("socket"))


def value_of(flag: str, arguments: list[str]) -> str:
    return arguments[arguments.index(flag) + 1]


@pytest.fixture(autouse=True)
def any_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    monkeypatch.setenv("STILLROOM_VLLM_PYTHON", str(python))


def test_a_server_on_gpus_is_told_which_how_many_and_how_much() -> None:
    settings = VllmSampler(tensor_parallel=2, devices=(1, 3))
    launch = Launch(settings, "bfloat16", 64, False, gpus=("4", "6"), gpu_share=0.21)
    assert value_of("--tensor-parallel-size", command(launch)) == "2"
    assert value_of("--gpu-memory-utilization", command(launch)) == "0.21"
    assert launch.environment()["CUDA_VISIBLE_DEVICES"] == "4,6"


def test_a_server_on_the_cpu_is_started_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    launch = Launch(VllmSampler(), "float32", 64, True)
    assert not {"--tensor-parallel-size", "--gpu-memory-utilization"} & set(command(launch))
    assert "CUDA_VISIBLE_DEVICES" not in launch.environment()


@pytest.mark.parametrize(
    ("settings", "own", "visible", "names"),
    [
        ({}, 0, None, ("0",)),
        ({}, 2, None, ("2",)),
        ({"tensor_parallel": 2}, 0, None, ("0", "1")),
        ({"devices": (3,)}, 0, None, ("3",)),
        ({}, 0, "5", ("5",)),
        ({}, 0, "GPU-aa, GPU-bb", ("GPU-aa",)),
        ({"devices": (1,)}, 0, "5,7", ("7",)),
        ({"devices": (1, 0), "tensor_parallel": 2}, 0, "5,7", ("7", "5")),
    ],
)
def test_numbers_count_the_gpus_that_the_run_sees(
    settings: dict[str, Any], own: int, visible: str | None, names: tuple[str, ...]
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert gpu_names(VllmSampler(**settings), own, environment) == names


def test_a_gpu_that_the_run_does_not_see_is_refused() -> None:
    with pytest.raises(RunRefused, match="there is no GPU 2; the run sees 2"):
        gpu_names(VllmSampler(devices=(2,)), 0, {"CUDA_VISIBLE_DEVICES": "0,1"})


@given(st.integers(1, 60), st.integers(1, 140), st.integers(0, 100))
def test_the_share_is_what_the_server_needs_and_is_free(
    needed: int, total: int, free_percent: int
) -> None:
    memory = [GpuMemory(total * GIB, total * GIB * free_percent // 100)]
    if needed * GIB > memory[0].free:
        with pytest.raises(RunRefused, match="are free"):
            gpu_share(needed * GIB, memory)
    else:
        share = gpu_share(needed * GIB, memory)
        # vLLM starts only where its whole share is free.
        assert share * total == pytest.approx(needed, rel=0.01, abs=0.01)


def test_the_need_is_weights_keys_and_values_and_overhead() -> None:
    student = language_model()
    count = sum(parameter.numel() for parameter in student.model.parameters())
    needs = {
        (dtype, parts): server_bytes(student, dtype, VllmSampler(memory=2.0, tensor_parallel=parts))
        for dtype in ("float32", "bfloat16")
        for parts in (1, 2)
    }
    assert needs["float32", 1] == 4 * count + 2 * GIB + OVERHEAD
    assert needs["bfloat16", 1] == 2 * count + 2 * GIB + OVERHEAD
    assert needs["bfloat16", 2] == count + 2 * GIB + OVERHEAD


def test_gradients_and_moments_that_may_not_fit_are_said() -> None:
    student = language_model()
    count = sum(parameter.numel() for parameter in student.model.parameters())
    needed = 4 * GIB
    memory = GpuMemory(80 * GIB, needed + 12 * count)
    assert warning(needed, [memory], student) == ""
    assert "gradients and moments" in warning(needed, [replace(memory, free=needed)], student)


@pytest.mark.parametrize(
    ("sampler", "device", "path", "sentence"),
    [
        ({"devices": [0, 1]}, "auto", "devices", "names 2 GPUs, but tensor_parallel is 1"),
        ({"devices": [1, 1], "tensor_parallel": 2}, "auto", "devices", "names a GPU twice"),
        ({"tensor_parallel": 2}, "cpu", "tensor_parallel", "needs GPUs"),
        ({"devices": [0]}, "cpu", "devices", "needs GPUs"),
        ({"gpu_share": 1.5}, "auto", "gpu_share", "at most 1"),
        ({"tensor_parallel": 2}, "auto", "", ""),
        ({"devices": [2, 3], "tensor_parallel": 2, "gpu_share": 0.9}, "cuda", "", ""),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    sampler: dict[str, Any], device: str, path: str, sentence: str
) -> None:
    settings = {"device": device, "sampler": {"kind": "vllm", **sampler}}
    issues = {
        issue.path: issue.message
        for issue in issues_in({"stages": [{"name": "only"}], "compute": settings})
    }
    if not path:
        assert issues == {}
    else:
        found = next(message for where, message in issues.items() if where.endswith(path))
        assert sentence in found
