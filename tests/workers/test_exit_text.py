"""How the exit of a trainer is explained to a person."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from webapp.runs import status_text
from webapp.runs.models import Attempt, State
from workers.attempt.exit_text import explain


def exit_report(
    code: int | None = None, signal: int | None = None, out_of_memory: bool | None = False
) -> dict[str, Any]:
    return {
        "code": code,
        "signal": signal,
        "out_of_memory": out_of_memory,
        "max_rss_bytes": 3 * 2**30,
    }


def test_exit_code_0_is_completed() -> None:
    assert (
        explain(
            exit_report(0), {"outcome": "completed", "reason": "", "remedy": ""}, "", False
        ).state
        == State.COMPLETED
    )


def test_a_stop_after_a_checkpoint_is_stopped() -> None:
    assert explain(exit_report(75), {"outcome": "stopped"}, "", True).state == State.STOPPED


def test_the_trainers_own_reason_is_used() -> None:
    end = {
        "outcome": "failed",
        "reason": "The loss became NaN at step 12.",
        "remedy": "Lower the learning rate.",
    }
    outcome = explain(exit_report(65), end, "", False)
    assert (outcome.state, outcome.reason, outcome.remedy) == (
        State.FAILED,
        end["reason"],
        end["remedy"],
    )


def test_a_kill_by_the_kernel_for_memory_names_the_size() -> None:
    outcome = explain(exit_report(signal=signal.SIGKILL, out_of_memory=True), None, "", False)
    assert (
        outcome.state == State.FAILED
        and "Out of memory" in outcome.reason
        and "3.0 GiB" in outcome.reason
    )


def test_any_other_kill_names_the_signal() -> None:
    outcome = explain(exit_report(signal=signal.SIGKILL), None, "", False)
    assert (
        outcome.state == State.FAILED
        and "signal 9 (SIGKILL)" in outcome.reason
        and "Resume" in outcome.remedy
    )


def test_a_kill_of_unknown_cause_names_memory_as_a_possibility() -> None:
    outcome = explain(exit_report(signal=signal.SIGKILL, out_of_memory=None), None, "", False)
    assert outcome.state == State.FAILED
    assert "killed (SIGKILL), perhaps because the memory ran out" in outcome.reason
    assert "Resume" in outcome.remedy and "micro-batch" in outcome.remedy


@pytest.mark.parametrize(
    ("out_of_memory", "sentence"),
    [
        (True, "because the memory ran out."),
        (False, "by a person or another program."),
        (None, "by a person or because the machine ran out of memory."),
    ],
)
def test_the_page_of_an_attempt_tells_the_same_causes_apart(
    out_of_memory: bool | None, sentence: str
) -> None:
    exit = exit_report(signal=signal.SIGKILL, out_of_memory=out_of_memory)
    assert status_text.exit_of(Attempt(exit=exit)).endswith(sentence)


def test_a_forced_stop_is_not_a_failure() -> None:
    assert explain(exit_report(signal=signal.SIGKILL), None, "", True).state == State.STOPPED


def test_a_stop_before_the_trainer_handles_signals_is_a_stop() -> None:
    outcome = explain(exit_report(signal=signal.SIGTERM), None, "", True)
    assert outcome.state == State.STOPPED and "still loading" in outcome.reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("state", [State.COMPLETED, State.STOPPED])
def test_a_signal_after_the_end_event_changes_nothing(state: State, number: int) -> None:
    end = {"outcome": str(state), "reason": "", "remedy": ""}
    assert [
        explain(exit_report(signal=number), end, "", requested).state for requested in (True, False)
    ] == [state] * 2


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("Traceback …\nOSError: [Errno 28] No space left on device: 'x'\n", "disk is full"),
        ("Traceback …\ntorch.OutOfMemoryError: CUDA out of memory. Tried …", "Out of memory"),
        ("Traceback …\nValueError: nobody expects this\n", "ValueError: nobody expects this"),
        ("", "it printed nothing"),
    ],
)
def test_without_an_end_event_the_reason_is_read_from_the_output(output: str, reason: str) -> None:
    outcome = explain(exit_report(70), None, output, False)
    assert outcome.state == State.FAILED and reason in outcome.reason


def test_a_trainer_without_exit_report_has_disappeared() -> None:
    assert "disappeared" in explain(None, None, "", False).reason
