"""Running out of memory in an update changes no number.

Weights in a format that would lose small updates are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import Parameter

from tests.trainer.engine.toy import events
from trainer.engine import checkpoints
from trainer.engine.checkpoints import Snapshot
from trainer.engine.loop import EvaluationReport, MethodState, Phase, Runtime, train
from trainer.engine.optimisers import OptimiserGroup
from trainer.engine.outcome import RunRefused
from trainer.events import EventLog
from trainer.spec import Optimiser
from trainer.spec.operation import Checkpoints, Compute

LEARN = Phase("learn", "net")
FAILURES = [
    torch.OutOfMemoryError("CUDA out of memory\nmore"),
    MemoryError(),
    RuntimeError("can't allocate memory: 9 bytes"),
]


class Noisy:
    """Fits 64 numbers under noise from torch's generator, `rt.micro_batch_tokens` at a time.

    Memory runs out where the test says so.
    """

    phases: tuple[Phase, ...] = (LEARN,)
    total_steps = 4

    def __init__(
        self, failure: Exception | None = None, at_step: int = 2, while_larger_than: int = 16
    ) -> None:
        self.failure, self.at_step, self.while_larger_than = failure, at_step, while_larger_than

    def setup(self, rt: Runtime) -> None:
        torch.manual_seed(5)
        self.weights = Parameter(torch.zeros(64, dtype=torch.float64))
        rt.group("net", {"weights": self.weights}).configure(Optimiser(), 0.1)

    def batch(self, rt: Runtime) -> Tensor:
        return torch.arange(64) / 64

    def run(self, phase: Phase, batch: Tensor, rt: Runtime) -> Mapping[str, float]:
        rt.normalise("net", 64)
        noise = torch.randn(64, dtype=torch.float64)
        for indices in torch.arange(64).split(rt.micro_batch_tokens):
            rt.count_tokens(len(indices))
            rt.count_operations(1.0)
            rt.backward(
                (self.weights[indices] - batch[indices] - noise[indices]).pow(2).sum(), "net"
            )
            if (
                self.failure
                and rt.step == self.at_step
                and rt.micro_batch_tokens > self.while_larger_than
            ):
                raise self.failure
        return {}

    def after_update(self, rt: Runtime) -> None:
        pass

    def after_step(self, rt: Runtime) -> None:
        pass

    def evaluate(self, rt: Runtime, when: str) -> EvaluationReport:
        return EvaluationReport({})

    def state(self) -> MethodState:
        return MethodState()

    def load(self, snapshot: Snapshot) -> None:
        pass

    def close(self) -> None:
        pass


def runtime(folder: Path, micro: int) -> Runtime:
    settings = Compute(micro_batch_tokens=micro)
    return Runtime(
        folder,
        EventLog(folder / "events", 1),
        torch.device("cpu"),
        Checkpoints(every=1),
        0,
        settings=settings,
    )


def losses(folder: Path) -> list[float]:
    return [
        event["values"]["loss"] for event in events(folder, "metrics") if "loss" in event["values"]
    ]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_step_that_ran_out_of_memory_is_repeated_with_smaller_micro_batches(
    tmp_path: Path, failure: Exception
) -> None:
    failing, undisturbed = Noisy(failure), Noisy()
    rt = runtime(tmp_path / "failing", 64)
    train(failing, rt)
    train(undisturbed, runtime(tmp_path / "undisturbed", 16))
    torch.testing.assert_close(failing.weights, undisturbed.weights, rtol=1e-12, atol=1e-14)
    assert losses(tmp_path / "failing") == pytest.approx(
        losses(tmp_path / "undisturbed"), rel=1e-12
    )
    assert rt.micro_batch_tokens == 16
    assert rt.micro == 1 + 1 + 4 + 4
    assert rt.tokens == 4 * 64
    messages = [event["message"] for event in events(tmp_path / "failing", "log")]
    assert [message.rsplit("; ", 1)[1] for message in messages] == [
        "the step is computed again, 32 tokens at a time.",
        "the step is computed again, 16 tokens at a time.",
    ]


def test_a_resumed_run_keeps_the_smaller_micro_batches(tmp_path: Path) -> None:
    train(Noisy(MemoryError()), runtime(tmp_path / "first", 64))
    rt = runtime(tmp_path / "second", 64)
    train(
        Noisy(),
        rt,
        checkpoints.load(checkpoints.list_folders(tmp_path / "first" / "checkpoints")[0]),
    )
    assert rt.micro_batch_tokens == 16


def test_a_run_fails_if_no_micro_batch_is_small_enough(tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        train(Noisy(MemoryError(), while_larger_than=0), runtime(tmp_path, 64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_held_in_half_precision_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(RunRefused, match="The parameter head of student is held in") as refusal:
        OptimiserGroup("student", {"head": Parameter(torch.zeros(2, dtype=dtype))})
    assert "float32" in refusal.value.remedy


def test_computing_in_bfloat16_moves_the_weights_by_the_expected_norm() -> None:
    """AdamW's first step moves each number by the learning rate.

    That is far below what bfloat16 could add to a weight of 1.
    """
    net = nn.Linear(64, 32, bias=False)
    nn.init.ones_(net.weight)
    before, rate = net.weight.detach().clone(), 1e-5
    group = OptimiserGroup("net", dict(net.named_parameters()), bfloat16=True)
    group.configure(Optimiser(), rate)
    norms: list[torch.dtype] = []

    def compute() -> Tensor:
        output = net(torch.randn(8, 64, generator=torch.Generator().manual_seed(0)))
        norms.append(output.dtype)
        return output.float().pow(2).sum()

    group.backward(group.forward(compute))
    assert net.weight.grad is not None
    assert net.weight.grad.dtype == torch.float32
    group.update()
    moments = [value for key, value in group.moments().items() if "exp_avg" in key]
    assert norms == [torch.bfloat16]
    assert {value.dtype for value in moments} == {net.weight.dtype} == {torch.float32}
    assert float((net.weight.detach() - before).norm()) == pytest.approx(
        rate * net.weight.numel() ** 0.5, rel=1e-2
    )
    assert torch.equal((before + rate).bfloat16(), before.bfloat16())


class Sampling(Noisy):
    """Memory runs out while it collects, evaluates or prepares a batch, until few rows are left."""

    phases: tuple[Phase, ...] = (Phase("collect"), LEARN)

    def __init__(self, where: str, failure: Exception) -> None:
        super().__init__()
        self.where, self.sampling_failure = where, failure

    def _sample(self, where: str, rt: Runtime) -> float:
        number = float(torch.rand(1))
        rt.count_tokens(10)
        rt.count_operations(1.0)
        rt.emit("evaluation", when="during", role=where, number=number)
        if where == self.where and rt.step == 2 and rt.generation_rows > 2:
            raise self.sampling_failure
        return number

    def batch(self, rt: Runtime) -> Tensor:
        self._sample("batch", rt)
        return super().batch(rt)

    def run(self, phase: Phase, batch: Tensor, rt: Runtime) -> Mapping[str, float]:
        if phase.group is None:
            return {"collected": self._sample("collect", rt)}
        return super().run(phase, batch, rt)

    def evaluate(self, rt: Runtime, when: str) -> EvaluationReport:
        return EvaluationReport({"evaluated": self._sample("evaluate", rt)})


def sampled(folder: Path, where: str, failure: Exception) -> tuple[Runtime, Sampling]:
    method = Sampling(where, failure)
    settings = Compute(micro_batch_tokens=64, generation_rows=16)
    log = EventLog(folder / "events", 1)
    rt = Runtime(folder, log, torch.device("cpu"), Checkpoints(every=1), 1, settings=settings)
    train(method, rt)
    return rt, method


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("where", ["batch", "collect", "evaluate"])
def test_sampling_that_ran_out_of_memory_is_repeated_with_fewer_rows(
    tmp_path: Path, where: str, failure: Exception
) -> None:
    rt, failing = sampled(tmp_path / "failing", where, failure)
    undisturbed_rt, undisturbed = sampled(tmp_path / "undisturbed", "nowhere", failure)
    assert (rt.generation_rows, undisturbed_rt.generation_rows) == (2, 16)
    assert rt.tokens == undisturbed_rt.tokens
    torch.testing.assert_close(failing.weights, undisturbed.weights, rtol=1e-12, atol=1e-14)
    numbers = [
        {
            (event["step"], name): value
            for event in events(tmp_path / name_of_run, "metrics")
            for name, value in event["values"].items()
            if name in ("collected", "evaluated")
        }
        for name_of_run in ("failing", "undisturbed")
    ]
    assert numbers[0] == numbers[1]
    messages = [event["message"] for event in events(tmp_path / "failing", "log")]
    assert len(messages) == 3 and messages[-1].endswith(
        "it is computed again, 16 tokens and 2 answers at a time."
    )


def test_an_evaluation_that_is_repeated_is_logged_once(tmp_path: Path) -> None:
    sampled(tmp_path, "evaluate", MemoryError())
    logged = [event for event in events(tmp_path, "evaluation") if event["role"] == "evaluate"]
    assert [event["step"] for event in logged] == [0, 1, 2, 3, 4]


def test_a_run_fails_if_one_answer_at_a_time_is_too_much(tmp_path: Path) -> None:
    method = Sampling("collect", MemoryError("no room"))
    method._sample = lambda where, rt: _raise(MemoryError("no room"))  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        train(method, runtime(tmp_path, 64))


def _raise(error: Exception) -> float:
    raise error
