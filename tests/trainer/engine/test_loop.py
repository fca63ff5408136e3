"""The loop, on a method that fits a line: counting, cadence, evaluation, checkpoints, stopping and
what is not a number.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.engine.toy import FIRST, Line, events, runtime
from trainer.engine import checkpoints
from trainer.engine.loop import Phase, Runtime, train
from trainer.engine.optimisers import rate_at
from trainer.engine.outcome import DiskFull, NotANumber, Stopped
from trainer.spec import Optimiser

TIMING = ("time/", "time_share/", "memory/", "tokens_per_second")


def losses(folder: Path) -> dict[int, dict[str, float]]:
    """Metrics by step, without what the clock or the machine decides."""
    return {
        event["step"]: {
            key: value for key, value in event["values"].items() if not key.startswith(TIMING)
        }
        for event in events(folder, "metrics")
        if "slope/loss" in event["values"]
    }


def test_a_run_evaluates_before_during_and_after_and_saves_at_its_interval(tmp_path: Path) -> None:
    method = Line(10)
    assert train(method, runtime(tmp_path)) == ("All 10 steps are done. The score is -6.", "")
    assert [call for call in method.calls if call.startswith("evaluate")] == [
        "evaluate before 0", "evaluate during 4", "evaluate during 8", "evaluate after 10",
    ]  # fmt: skip
    assert [event["step"] for event in events(tmp_path, "checkpoint")] == [3, 4, 6, 9, 10]
    assert [event["best"] for event in events(tmp_path, "checkpoint")] == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert [folder.name for folder in checkpoints.list_folders(tmp_path / "checkpoints")] == [
        "step-00000010",
        "step-00000009",
        "step-00000004",
    ]
    assert [event["step"] for event in events(tmp_path, "checkpoint_removed")] == [3, 6]


def test_a_phase_runs_every_few_rounds(tmp_path: Path) -> None:
    method = Line(5)
    train(method, runtime(tmp_path))
    assert method.calls.count("first") == 5
    assert method.calls.count("second") == 3


def test_metrics_have_loss_rate_counts_and_times(tmp_path: Path) -> None:
    train(Line(3), runtime(tmp_path))
    last = [event for event in events(tmp_path, "metrics") if "slope/loss" in event["values"]][-1]
    assert last["step"] == 3
    assert (last["tokens"], last["compute"]) == (24, 3.0)
    assert {
        f"{group}/{name}"
        for group in ("slope", "offset")
        for name in ("loss", "grad_norm", "learning_rate")
    } <= set(last["values"])
    assert {"time/step_s", "time/first_s", "tokens_per_second", "memory/rss_bytes"} <= set(
        last["values"]
    )


def test_the_parts_of_a_step_are_shares_of_its_time(tmp_path: Path) -> None:
    class InTwoParts(Line):
        def run(self, phase: Phase, batch: Tensor, rt: Runtime) -> Mapping[str, float]:
            values = super().run(phase, batch, rt)
            time.sleep(0.02)
            return {**values, "time/waiting_s": 0.02} if phase is FIRST else values

    train(InTwoParts(3), runtime(tmp_path))
    last = [event for event in events(tmp_path, "metrics") if "slope/loss" in event["values"]][-1]
    shares = {key: value for key, value in last["values"].items() if key.startswith("time_share/")}
    assert shares.keys() == {
        f"time_share/{name}" for name in ("first", "waiting", "second", "other")
    }
    assert sum(shares.values()) == pytest.approx(1)
    seconds = last["values"]["time/step_s"]
    assert shares["time_share/waiting"] * seconds == pytest.approx(0.02)
    # The phase slept as long as the part that it reports, which is not its own time.
    assert 0 <= last["values"]["time/first_s"] < seconds - 0.02


def test_micro_batches_give_the_same_numbers_as_one_batch(tmp_path: Path) -> None:
    train(Line(6, micro=1), runtime(tmp_path / "one"))
    train(Line(6, micro=4), runtime(tmp_path / "four"))
    single, four = losses(tmp_path / "one"), losses(tmp_path / "four")
    for step, values in single.items():
        assert four[step] == pytest.approx(values, rel=1e-12)


def test_a_round_may_have_several_updates_of_its_batch(tmp_path: Path) -> None:
    class Repeating(Line):
        def batch(self, rt: Runtime) -> Tensor:
            rt.updates_per_round = 3
            return super().batch(rt)

        def run(self, phase: Phase, batch: Tensor, rt: Runtime) -> Mapping[str, float]:
            return {**super().run(phase, batch, rt), "number": rt.update_in_round}

        def after_update(self, rt: Runtime) -> None:
            self.calls.append(f"after update {rt.updates}")

    method = Repeating(2)
    train(method, runtime(tmp_path, evaluate_every=1))
    of_first_round = method.calls[1 : method.calls.index("evaluate during 1")]
    assert of_first_round == [
        *(call for number in (1, 2, 3) for call in ("first", f"after update {number}")),
        *(call for number in (4, 5, 6) for call in ("second", f"after update {number}")),
    ]
    assert method.calls.count("first") == 6, "steps and evaluations count rounds"
    values = losses(tmp_path)[2]
    assert (values["number"], values["updates"]) == (1, 9)
    newest = checkpoints.list_folders(tmp_path / "checkpoints")[0]
    assert checkpoints.load(newest).state["loop"]["updates"] == 9


def test_a_stopped_and_resumed_run_gives_the_same_numbers(tmp_path: Path) -> None:
    uninterrupted = Line(10)
    train(uninterrupted, runtime(tmp_path / "whole"))
    with pytest.raises(Stopped):
        train(Line(10, stop_at=6), runtime(tmp_path / "first"))
    newest = checkpoints.list_folders(tmp_path / "first" / "checkpoints")[0]
    assert newest.name == "step-00000007"
    resumed = Line(10)
    train(resumed, runtime(tmp_path / "second", attempt=2), checkpoints.load(newest))
    assert {**losses(tmp_path / "first"), **losses(tmp_path / "second")} == losses(
        tmp_path / "whole"
    )
    assert torch.equal(resumed.slope, uninterrupted.slope)
    assert torch.equal(resumed.offset, uninterrupted.offset)
    assert "evaluate before 7" not in resumed.calls


def test_a_finished_run_that_is_resumed_has_nothing_to_do(tmp_path: Path) -> None:
    train(Line(4), runtime(tmp_path / "first"))
    resumed = Line(4)
    train(
        resumed,
        runtime(tmp_path / "second"),
        checkpoints.load(checkpoints.list_folders(tmp_path / "first" / "checkpoints")[0]),
    )
    assert resumed.calls == []


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    method = Line(10, poison_at=5)
    with pytest.raises(NotANumber) as failure:
        train(method, runtime(tmp_path))
    assert "At step 6 the loss is nan" in failure.value.reason
    assert "last good checkpoint is that of step 4" in failure.value.reason
    assert torch.isfinite(method.slope).all()
    assert checkpoints.load(checkpoints.list_folders(tmp_path / "checkpoints")[0]).step == 4


def test_a_log_that_cannot_be_written_stops_the_run_at_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class FillsTheDisk(Line):
        def after_step(self, rt: Runtime) -> None:
            super().after_step(rt)
            if rt.step == 2:
                monkeypatch.setattr(os, "write", full)

    with pytest.raises(
        DiskFull,
        match="stopped after step 2: the event log cannot be written: the disk is full: No space "
        "left on device",
    ):
        train(FillsTheDisk(10), runtime(tmp_path))


def test_the_rate_warms_up_and_decays_to_its_final_share() -> None:
    settings = Optimiser(learning_rate=1.0, warmup_steps=4, final_share=0.1)
    rates = [rate_at(settings, index, 14) for index in range(14)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[-1] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


class Settings(Line):
    """A line whose groups have optimisers of their own."""

    def __init__(self, slope: Optimiser, offset: Optimiser, **options: Any) -> None:
        super().__init__(**options)
        self.optimisers = {"slope": slope, "offset": offset}

    def setup(self, rt: Runtime) -> None:
        super().setup(rt)
        for name, settings in self.optimisers.items():
            rt.groups[name].configure(settings, settings.learning_rate)


def test_each_group_has_its_own_metrics_and_betas(tmp_path: Path) -> None:
    betas = {"slope": (0.0, 0.5), "offset": (0.7, 0.99)}
    method = Settings(
        *(
            Optimiser(learning_rate=rate, beta1=first, beta2=second)
            for rate, (first, second) in zip((0.1, 0.02), betas.values(), strict=True)
        ),
        total_steps=3,
    )
    train(method, runtime(tmp_path))
    parameters = {"slope": torch.zeros(1).double(), "offset": torch.zeros(1).double()}
    for parameter in parameters.values():
        parameter.requires_grad_()
    optimisers = {
        name: torch.optim.AdamW([parameters[name]], lr=rate, betas=betas[name], weight_decay=0)
        for name, rate in (("slope", 0.1), ("offset", 0.02))
    }
    rows = [
        event["values"] for event in events(tmp_path, "metrics") if "time/step_s" in event["values"]
    ]
    for step, values in enumerate(rows):
        points = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        for name in ("slope", "offset") if step % 2 == 0 else ("slope",):
            optimisers[name].zero_grad()
            slope, offset = parameters["slope"], parameters["offset"]
            loss = ((slope * points + offset - 3 * points - 1) ** 2).mean()
            loss.backward()
            assert values[f"{name}/loss"] == pytest.approx(float(loss.detach()), rel=1e-9)
            gradient = parameters[name].grad
            assert gradient is not None
            assert values[f"{name}/grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-9)
            torch.nn.utils.clip_grad_norm_([parameters[name]], 1.0)
            optimisers[name].step()
            assert values[f"{name}/learning_rate"] == optimisers[name].param_groups[0]["lr"]
        assert "loss" not in values
    assert method.slope.item() == pytest.approx(parameters["slope"].item(), rel=1e-12)
    assert method.offset.item() == pytest.approx(parameters["offset"].item(), rel=1e-12)


class PoisonedSlope(Settings):
    """The loss of one group is NaN in the given steps."""

    def __init__(self, poisoned: range, **options: Any) -> None:
        super().__init__(**options)
        self.poisoned = poisoned

    def run(self, phase: Phase, batch: Tensor, rt: Runtime) -> Mapping[str, float]:
        nan = phase.group == "slope" and rt.step in self.poisoned
        return super().run(phase, batch * torch.nan if nan else batch, rt)


def test_a_group_may_skip_updates_that_are_not_a_number(tmp_path: Path) -> None:
    skips = Optimiser(learning_rate=0.1, not_finite="skip")
    method = PoisonedSlope(range(2, 4), slope=skips, offset=Optimiser(), total_steps=6)
    train(method, runtime(tmp_path))
    rows = [
        event["values"] for event in events(tmp_path, "metrics") if "time/step_s" in event["values"]
    ]
    assert [step for step, values in enumerate(rows) if "slope/update/skipped" in values] == [2, 3]
    assert all(("slope/loss" in values) == (step not in (2, 3)) for step, values in enumerate(rows))
    assert math.isfinite(method.slope.item()) and rows[2]["offset/loss"] > 0
    warnings = [event["message"] for event in events(tmp_path, "log")]
    assert sum("the update of slope is skipped" in message for message in warnings) == 2


@pytest.mark.parametrize(("policy", "poisoned"), [("stop", range(2, 3)), ("skip", range(2, 30))])
def test_the_policy_of_one_group_is_not_that_of_another(
    tmp_path: Path, policy: Any, poisoned: range
) -> None:
    """`stop` ends the run at once, `skip` after ten updates in a row."""
    other: Any = "skip" if policy == "stop" else "stop"
    method = PoisonedSlope(
        poisoned,
        slope=Optimiser(not_finite=policy),
        offset=Optimiser(not_finite=other),
        total_steps=30,
    )
    with pytest.raises(NotANumber, match=f"At step {3 if policy == 'stop' else 13} "):
        train(method, runtime(tmp_path))
