"""The process of a preflight from its parent's side: limits of time and memory, and its findings.

A chat template is a program of its author and a tokenizer a large native library: either may never
return. So the checks run in a child process that writes each finding as it is made; when its time
is over it is killed, and what it has found until then stays.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import trainer
from trainer.text.preflight.findings import Finding, Report

LATER = "What it has not reached is checked by the run itself before its first step."


@dataclass(frozen=True)
class Limits:
    """`sample` counts problems of each role; `memory` is the child's address space in bytes."""

    sample: int = 200
    seconds: float = 60.0
    memory: int = 8 * 2**30


@dataclass
class _Child:
    """What the child has told so far."""

    phase: str = "starting"
    done: bool = False
    findings: list[Finding] = field(default_factory=list)


def preflight(spec: Path, limits: Limits) -> Report:
    """Check the definition in the file `spec`, which must be valid, within the limits."""
    started = time.monotonic()
    child = _Child()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "trainer.text.preflight",
                str(spec),
                str(limits.sample),
                str(limits.memory),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # A file and not a pipe: a full pipe would block the child.
            stderr=errors,
            env=_environment(),
        )
        assert process.stdout is not None
        try:
            in_time = _follow(process.stdout.fileno(), started + limits.seconds, child)
        finally:
            # Its verifier ends with it, because their pipe does.
            process.kill()
            code = process.wait()
            process.stdout.close()
        if not child.done:
            child.findings.append(
                _not_finished(limits, child.phase, code, _last_line(errors) if in_time else "")
                if in_time
                else _out_of_time(limits, child.phase)
            )
    return Report(tuple(child.findings), child.done, time.monotonic() - started)


def _environment() -> dict[str, str]:
    # `-P` keeps the current folder off the path, so the path must name the folder of this package.
    home = str(Path(trainer.__file__).resolve().parent.parent)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")])),
        # A preflight downloads nothing: it must end in seconds.
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "critical",
    }


def _follow(stdout: int, deadline: float, child: _Child) -> bool:
    """Read what the child tells until it ends; return False if it has not by the deadline."""
    for line in _lines(stdout, deadline):
        if line is None:
            return child.done
        message = json.loads(line)
        child.phase = message.get("phase", child.phase)
        child.done = message.get("done", child.done)
        if "finding" in message:
            child.findings.append(Finding(**message["finding"]))
    return True


def _lines(stdout: int, deadline: float) -> Iterator[bytes | None]:
    """Yield the lines of a pipe up to its end, or None at the deadline."""
    unread = b""
    while True:
        readable, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            yield None
            return
        received = os.read(stdout, 65536)
        if not received:
            return
        *lines, unread = (unread + received).split(b"\n")
        yield from lines


def _out_of_time(limits: Limits, phase: str) -> Finding:
    return Finding(
        "fact",
        "not_finished",
        "",
        f"The preflight was ended after {limits.seconds:g} s, while {phase}. {LATER}",
    )


def _not_finished(limits: Limits, phase: str, code: int, error: str) -> Finding:
    cause = f" ({error})" if error else ""
    return Finding(
        "fact",
        "not_finished",
        "",
        f"The preflight's process died with exit code {code} while {phase}{cause}; it may use "
        f"{limits.memory / 2**30:.3g} GiB of memory. {LATER}",
    )


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:200] if lines else ""
