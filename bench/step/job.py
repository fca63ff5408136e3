"""The job and the report of a contender. Imports nothing of Stillroom, because TRL reads it too."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from bench.memory import status

# Caches fill, buffers are allocated and moments made in the first steps.
WARM_UP = 3


@dataclass(frozen=True)
class Job:
    """On-policy distillation by reverse KL, with at most `longest` tokens an answer.

    In every step the student answers all `questions` afresh. `student` and `teacher` are model
    folders; `held_out` is a question to evaluate on, where that cannot be left out. `bfloat16` asks
    for updates computed in it. The learning rate is as good as 0, so that answers stay as long as
    they were.
    """

    student: str
    teacher: str
    questions: tuple[str, ...]
    held_out: str
    longest: int
    steps: int
    threads: int
    bfloat16: bool = False

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Job:
        content = json.loads(path.read_text())
        return cls(**{**content, "questions": tuple(content["questions"])})


@dataclass
class Clock:
    """End times of steps. CPU seconds include child processes such as a verifier."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def tick(self, tokens: int) -> None:
        """Record the end of a step that trained on `tokens` tokens."""
        # Unix time, because the first step is measured from the start of the process.
        self.wall.append(time.time())
        self.cpu.append(_cpu_seconds())
        self.tokens.append(tokens)

    def report(self) -> dict[str, Any]:
        """Seconds until the end of the first step, and of each later step, with its tokens."""
        return {
            "first_step_s": self.wall[0] - psutil.Process().create_time(),
            "first_step_cpu_s": self.cpu[0],
            "wall_s": _differences(self.wall)[WARM_UP:],
            "cpu_s": _differences(self.cpu)[WARM_UP:],
            "tokens": self.tokens[1 + WARM_UP :],
            "peak_gib": status("VmHWM") / 2**20,
        }


def _differences(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def _cpu_seconds() -> float:
    """CPU seconds of this process and its children, ended and alive.

    A living child may end while it is read, which is ignored.
    """
    process = psutil.Process()
    times = process.cpu_times()
    spent = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            spent += sum(child.cpu_times()[:4])
    return spent
