"""The parent of one trainer process: it writes down how the trainer ended, whoever else has died
meanwhile.

    python -m workers.attempt.shim ATTEMPT_FOLDER COMMAND [ARG ...]

Standard library only, so that it costs little and cannot fail on an import. It leaves three files
in the attempt's folder: `process.json` (who runs), `stdout.log` (all that the trainer prints) and,
last and atomically, `exit.json`. An attempt has one trainer: a second shim, started because nobody
knew yet of the first, waits for its end and leaves.
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
    """When a process started, in seconds since boot; None if there is no such process. With the pid
    it names a process for good.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat[stat.rindex(")") + 2 :].split()
    return None if state == "Z" else int(fields[18]) / CLOCK_TICKS


def identity(pid: int) -> dict[str, Any]:
    return {"pid": pid, "started": process_started(pid)}


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for memory since boot."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


def write_atomically(path: Path, content: dict[str, Any]) -> None:
    """Replace `path` by JSON so that a reader sees the old file or the new one, never a part."""
    scratch = path.with_suffix(".part")
    with scratch.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)


def supervise(folder: Path, command: list[str]) -> int:
    with (folder / "shim.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if (folder / "process.json").exists() else watch(folder, command)


def watch(folder: Path, command: list[str]) -> int:
    kills_before = out_of_memory_kills()
    started_at = time.time()
    with (folder / "stdout.log").open("ab", buffering=0) as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
    write_report(
        folder / "process.json", {"trainer": identity(child.pid), "shim": identity(os.getpid())}
    )
    _, status, usage = os.wait4(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    report = {
        "pid": child.pid,
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "started_at": started_at,
        "finished_at": time.time(),
        "max_rss_bytes": usage.ru_maxrss * 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "out_of_memory": out_of_memory_kills() > kills_before,
    }
    write_report(folder / "exit.json", report)
    return 0


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Keep trying while the disk is full: without this file nobody learns how the trainer ended."""
    while True:
        try:
            return write_atomically(path, report)
        except OSError:
            time.sleep(1)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.exit(supervise(Path(sys.argv[1]), sys.argv[2:]))
