"""The parent of one trainer process: it records how the trainer exited.

    python -m workers.attempt.exit_recorder ATTEMPT_FOLDER COMMAND [ARG ...]

Only a parent learns the exit status, and supervisors may die before the trainer. The recorder uses
the standard library only, so that it needs little memory and cannot fail on an import. It writes
three files into the attempt's folder: `process.json` (pids and start times), `stdout.log` (what the
trainer prints) and, last and atomically, `exit.json`. An attempt has one trainer: a second
recorder, started before `process.json` was there, waits for the first one's end and exits.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def process_started(pid: int) -> float | None:
    """Return when a process started, in seconds since boot; None if it does not run.

    Pid and start time together identify a process until the host restarts.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, the program's name in brackets, may itself contain spaces and brackets.
    # After it come field 3 (the state) and, 19 fields later, field 22: the start time in ticks.
    state, *fields = stat[stat.rindex(")") + 2 :].split()
    # A zombie has ended; only its parent has not read the exit status yet.
    return None if state == "Z" else int(fields[18]) / CLOCK_TICKS


def identity(pid: int) -> dict[str, Any]:
    return {"pid": pid, "started": process_started(pid)}


def out_of_memory_kills() -> int:
    """Return how many processes the kernel has killed for memory since boot."""
    counters = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(counters.get("oom_kill", 0))


def write_atomically(path: Path, content: dict[str, Any]) -> None:
    """Replace `path` by JSON, so that a reader sees the old file or the new one, never a part."""
    scratch = path.with_suffix(".part")
    with scratch.open("w") as file:
        json.dump(content, file)
        # Synced before the rename: after a power failure the new name could have an empty file.
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)


def run_once(folder: Path, command: list[str]) -> int:
    """Run the trainer and record its exit, unless another exit recorder has done so."""
    with (folder / "shim.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if (folder / "process.json").exists() else run_trainer(folder, command)


def run_trainer(folder: Path, command: list[str]) -> int:
    kills_before = out_of_memory_kills()
    started_at = time.time()
    with (folder / "stdout.log").open("ab", buffering=0) as output:
        # A process group of its own, so that a kill reaches all that the trainer has started.
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )
    # A supervisor may be the one that signals the recorder; the trainer must then save and stop.
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
    write_report(
        folder / "process.json", {"trainer": identity(child.pid), "shim": identity(os.getpid())}
    )
    # wait4 and not Popen.wait, because it also returns memory and CPU time of this one child.
    _, status, usage = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    report = {
        "pid": child.pid,
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "started_at": started_at,
        "finished_at": time.time(),
        # Linux counts in KiB.
        "max_rss_bytes": usage.ru_maxrss * 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        # The kernel counts for the whole host: another process may have been killed meanwhile.
        "out_of_memory": out_of_memory_kills() > kills_before,
    }
    write_report(folder / "exit.json", report)
    return 0


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Retry while the disk is full: without this file nobody learns how the trainer exited."""
    while True:
        try:
            return write_atomically(path, report)
        except OSError:
            time.sleep(1)


if __name__ == "__main__":
    # Ctrl-C and a closed terminal must not end the exit recorder before its trainer.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(run_once(Path(sys.argv[1]), sys.argv[2:]))
