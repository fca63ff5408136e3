"""Two machines compute what two processes of one do, and end with a reason when one is lost.

Here a machine is a launcher of its own.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.trainer.text.short_run import short
from tests.trainer.text.tiny_run import end, events, final_hash, numbers
from trainer.cli import main
from trainer.engine.distributed.processes import PEER_LOST_REASON, TRAINER
from trainer.exit_codes import ExitCode
from trainer.spec import to_dict

ROOT = Path(__file__).resolve().parents[3]
Pair = list[subprocess.Popen[bytes]]


@pytest.fixture
def started() -> Iterator[Pair]:
    """Processes that a test has started; all are killed at its end."""
    process: Pair = []
    yield process
    for machine in process:
        for child in (
            psutil.Process(machine.pid).children(recursive=True) if machine.poll() is None else []
        ):
            child.kill()
        machine.kill()
        machine.wait()


def definition(folder: Path, steps: int) -> Path:
    path = folder / "definition.json"
    path.write_text(json.dumps(to_dict(short({"until": {"steps": steps}}))))
    return path


def on_two_machines(spec: Path, folder: Path, started: Pair) -> Pair:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
    for number in range(2):
        command = [*TRAINER, "run", str(spec), "--dir", str(folder / f"machine-{number}")]
        command += ["--machines", "2", "--machine", str(number), "--meeting", meeting]
        started.append(subprocess.Popen(command, cwd=ROOT))
    return started


def rank_of(machine: subprocess.Popen[bytes]) -> psutil.Process:
    [rank] = psutil.Process(machine.pid).children()
    return rank


def until_trained(folder: Path) -> None:
    while not (folder / "attempts").exists() or not any(
        "loss" in event["values"] for event in events(folder, "metrics")
    ):
        time.sleep(0.1)


def test_two_machines_give_the_numbers_of_two_processes_on_one(
    tmp_path: Path, started: Pair
) -> None:
    spec = definition(tmp_path, 3)
    assert [machine.wait(280) for machine in on_two_machines(spec, tmp_path, started)] == [0, 0]
    assert (
        subprocess.run(
            [*TRAINER, "run", str(spec), "--dir", str(tmp_path / "one"), "--processes", "2"],
            cwd=ROOT,
        ).returncode
        == 0
    )
    assert end(tmp_path / "machine-0")["outcome"] == "completed"
    assert numbers(tmp_path / "machine-0") == pytest.approx(numbers(tmp_path / "one"), rel=1e-6)
    assert final_hash(tmp_path / "machine-0") == final_hash(tmp_path / "one")
    assert not (tmp_path / "machine-1").exists(), "machine 0 alone keeps a log"


def test_a_lost_machine_ends_the_attempt_with_a_reason(tmp_path: Path, started: Pair) -> None:
    first, second = on_two_machines(definition(tmp_path, 500), tmp_path, started)
    until_trained(tmp_path / "machine-0")
    rank_of(second).send_signal(signal.SIGKILL)
    assert [machine.wait(100) for machine in (first, second)] == [
        ExitCode.PEER_LOST,
        ExitCode.PROCESS_DIED,
    ]
    assert end(tmp_path / "machine-0")["reason"] == PEER_LOST_REASON


def test_a_stop_request_to_one_machine_stops_both_after_the_same_step(
    tmp_path: Path, started: Pair
) -> None:
    first, second = on_two_machines(definition(tmp_path, 500), tmp_path, started)
    until_trained(tmp_path / "machine-0")
    second.send_signal(signal.SIGTERM)
    assert [machine.wait(100) for machine in (first, second)] == [
        ExitCode.STOPPED,
        ExitCode.STOPPED,
    ]
    assert list((tmp_path / "machine-0/attempts/1/checkpoints").glob("step-*"))


def test_machines_without_a_meeting_address_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = definition(tmp_path, 3)
    assert (
        main(
            ["run", str(spec), "--dir", str(tmp_path / "run"), "--machines", "2", "--machine", "2"]
        )
        == ExitCode.REFUSED
    )
    assert "give each its --machine from 0 and the same --meeting" in capsys.readouterr().err
