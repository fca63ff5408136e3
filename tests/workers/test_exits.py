"""How an ended trainer is explained to a person."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from webapp.runs.models import State
from workers.attempt.exit_text import explain


def exit_report(
    code: int | None = None, signal: int | None = None, out_of_memory: bool = False
) -> dict[str, Any]:
    return {
        "code": code,
        "signal": signal,
        "out_of_memory": out_of_memory,
        "max_rss_bytes": 3 * 2**30,
    }


def test_a_clean_end_is_completed() -> None:
    assert (
        explain(
            exit_report(0), {"outcome": "completed", "reason": "", "remedy": ""}, "", False
        ).state
        == State.COMPLETED
    )


def test_a_checkpointed_stop_is_stopped() -> None:
    assert explain(exit_report(75), {"outcome": "stopped"}, "", True).state == State.STOPPED


def test_the_trainers_own_words_are_kept() -> None:
    end = {
        "outcome": "failed",
        "reason": "The loss became NaN at step 12.",
        "remedy": "Lower the learning rate.",
    }
    ending = explain(exit_report(65), end, "", False)
    assert (ending.state, ending.reason, ending.remedy) == (
        State.FAILED,
        end["reason"],
        end["remedy"],
    )


def test_a_kill_by_the_system_for_memory_says_so_with_the_size() -> None:
    ending = explain(exit_report(signal=signal.SIGKILL, out_of_memory=True), None, "", False)
    assert (
        ending.state == State.FAILED
        and "Out of memory" in ending.reason
        and "3.0 GiB" in ending.reason
    )


def test_a_kill_by_somebody_names_the_signal() -> None:
    ending = explain(exit_report(signal=signal.SIGKILL), None, "", False)
    assert (
        ending.state == State.FAILED
        and "signal 9 (SIGKILL)" in ending.reason
        and "Resume" in ending.remedy
    )


def test_a_forced_stop_is_no_failure() -> None:
    assert explain(exit_report(signal=signal.SIGKILL), None, "", True).state == State.STOPPED


def test_a_stop_before_the_trainer_listens_is_a_stop() -> None:
    ending = explain(exit_report(signal=signal.SIGTERM), None, "", True)
    assert ending.state == State.STOPPED and "still loading" in ending.reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("outcome", [State.COMPLETED, State.STOPPED])
def test_what_hits_the_trainer_after_its_last_words_changes_nothing(
    outcome: State, number: int
) -> None:
    said = {"outcome": str(outcome), "reason": "", "remedy": ""}
    assert [
        explain(exit_report(signal=number), said, "", asked).state for asked in (True, False)
    ] == [outcome] * 2


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("Traceback …\nOSError: [Errno 28] No space left on device: 'x'\n", "disk is full"),
        ("Traceback …\ntorch.OutOfMemoryError: CUDA out of memory. Tried …", "Out of memory"),
        ("Traceback …\nValueError: nobody expects this\n", "ValueError: nobody expects this"),
        ("", "it printed nothing"),
    ],
)
def test_an_end_without_words_is_read_from_what_was_printed(output: str, said: str) -> None:
    ending = explain(exit_report(70), None, output, False)
    assert ending.state == State.FAILED and said in ending.reason


def test_a_process_that_nobody_saw_end_is_told_as_such() -> None:
    assert "disappeared" in explain(None, None, "", False).reason
