"""Processes that are started together end together, with one reason and one exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.tiny_run import spec
from trainer.cli import main
from trainer.engine import checkpoints
from trainer.engine.distributed import processes
from trainer.events import EventLog, read
from trainer.exit_codes import ExitCode
from trainer.spec import to_yaml
from trainer.text import run

ROOT = Path(__file__).resolve().parents[3]
FAKE_RANK = [sys.executable, "-m", "tests.trainer.scale.fake_rank"]


def end(run_dir: Path) -> dict[str, object]:
    """The log's last event, which must be its only end."""
    events = list(read(run_dir / "attempts" / "1" / "events"))
    assert [event["type"] for event in events].count("end") == 1
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return events[-1]


def run_ranks(run_dir: Path, *behaviours: str, device: str = "cpu") -> int:
    command = [*FAKE_RANK, *behaviours]
    return processes.run_processes(command, command, run_dir, 1, len(behaviours), device)


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(processes, "GRACE_SECONDS", 2.0)
    monkeypatch.setattr("os.cpu_count", lambda: 3)


def test_the_leading_rank_says_how_the_run_ended(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "attempts/1/events", 1)
    log.log("info", "logged by the leading rank")
    log.close()
    assert run_ranks(tmp_path, "completes", "completes") == ExitCode.COMPLETED
    assert (end(tmp_path)["outcome"], end(tmp_path)["reason"]) == (
        "completed",
        "All 8 steps are done.",
    )


@pytest.mark.parametrize("leading", ["is left alone", "hangs"])
def test_a_killed_rank_takes_the_others_down_with_a_reason(tmp_path: Path, leading: str) -> None:
    assert run_ranks(tmp_path, leading, "dies") == ExitCode.FAILED
    assert (
        end(tmp_path)["reason"]
        == "Process 2 of 2 was killed by signal 9 (SIGKILL), and the others were stopped."
    )


def test_the_end_quotes_the_rank_that_knows_the_reason(tmp_path: Path) -> None:
    assert run_ranks(tmp_path, "is left alone", "hangs", "refuses") == ExitCode.FAILED
    assert (end(tmp_path)["reason"], end(tmp_path)["remedy"]) == (
        "Process 3 of 3: The model has no head.",
        "Choose another one.",
    )


def test_after_a_rank_ran_out_of_memory_all_restart_with_smaller_micro_batches(
    tmp_path: Path,
) -> None:
    assert run_ranks(tmp_path, "completes", "has enough memory at a quarter") == ExitCode.COMPLETED


def test_more_processes_than_cores_are_refused_before_one_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    (tmp_path / "run.yaml").write_text(to_yaml(spec(compute={"processes": 1024})))
    assert main(["run", str(tmp_path / "run.yaml"), "--dir", str(tmp_path)]) == ExitCode.REFUSED
    assert (
        end(tmp_path)["reason"]
        == "compute.processes is 1,024, but this machine has room for at most 3: "
        "one for each CPU core."
    )
    assert end(tmp_path)["remedy"] == "Lower compute.processes."


@pytest.mark.parametrize("cores", [1, None])
def test_two_processes_may_share_a_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int | None
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert run_ranks(tmp_path, "completes", "completes") == ExitCode.COMPLETED


def test_more_processes_than_gpus_are_refused_where_gpus_are_demanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert run_ranks(tmp_path, "completes", "completes", device="cuda") == ExitCode.REFUSED
    assert (
        end(tmp_path)["reason"]
        == "compute.processes is 2, but this machine has room for at most 1: one for each GPU."
    )
    assert end(tmp_path)["remedy"] == "Lower compute.processes, or set compute.device to cpu."


def test_if_one_rank_cannot_start_none_keeps_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def one_alone(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(start(*arguments, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", one_alone)
    assert run_ranks(tmp_path, "hangs", "hangs") == ExitCode.FAILED
    assert (
        end(tmp_path)["reason"]
        == "Process 2 of 2 could not be started: resource temporarily unavailable."
    )
    assert started[0].returncode == -signal.SIGKILL


def signal_when_handled(number: signal.Signals, *pauses: float) -> None:
    """Send a signal to this process after each pause; the first not before the ranks' parent
    handles it, because it would end the tests.
    """
    default = signal.getsignal(number)

    def send() -> None:
        while signal.getsignal(number) is default:
            time.sleep(0.01)
        for pause in pauses:
            time.sleep(pause)
            signal.raise_signal(number)

    threading.Thread(target=send, daemon=True).start()


def test_a_signal_asks_all_ranks_to_stop(tmp_path: Path) -> None:
    signal_when_handled(signal.SIGTERM, 0.5)
    assert run_ranks(tmp_path, "waits", "waits", "waits") == ExitCode.STOPPED
    assert end(tmp_path)["reason"] == "The run was asked to stop."


def test_a_second_signal_kills_all_ranks(tmp_path: Path) -> None:
    signal_when_handled(signal.SIGINT, 0.5, 0.5)
    # They hang: without the kill this would not return.
    assert run_ranks(tmp_path, "hangs", "hangs") == ExitCode.FAILED


def test_a_real_run_in_two_processes_stops_after_a_step_and_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(to_yaml(spec(compute={"processes": 2})))
    folder = tmp_path / "run"
    running = subprocess.Popen(
        [*processes.TRAINER, "run", str(tmp_path / "run.yaml"), "--dir", str(folder)], cwd=ROOT
    )
    try:
        while not list(folder.glob("attempts/1/checkpoints/step-*2")) and running.poll() is None:
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        assert running.wait(200) == ExitCode.STOPPED
    finally:
        running.kill()
    assert end(folder)["reason"] == "The run was asked to stop."
    saved = checkpoints.load(checkpoints.list_folders(folder / "attempts/1/checkpoints")[0])
    assert 2 <= saved.step < 8
    assert run.resume(folder) == ExitCode.COMPLETED  # in this process alone
    steps = [
        event["step"]
        for event in read(folder / "attempts/2/events")
        if event["type"] == "metrics" and "loss" in event["values"]
    ]
    assert steps == list(range(saved.step + 1, 9))
