"""Functions for children of `bounded_process` in tests; a child imports them by name."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.text.problems import ProblemError


def peak_memory() -> int:
    """Most bytes that this process ever held."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return 1024 * int(match[1])


def cost(function: Callable[..., Any], *arguments: Any) -> tuple[int, str]:
    """Most bytes that this process held while it executed a function, and why it refused."""
    sentence = ""
    try:
        function(*arguments)
    except (ProblemError, MemoryError) as error:
        sentence = str(error) or "no memory"
    return peak_memory(), sentence


def hang() -> None:
    time.sleep(3600)


def allocate() -> None:
    blocks = []
    while True:
        blocks.append(b"x" * 2**20)


def die() -> None:
    os.abort()


def refuse() -> None:
    raise ProblemError("row 1 of a.csv has no answer")


def fail() -> None:
    raise KeyError("a mistake")


def wait_for(path: Path) -> str:
    while not path.exists():
        time.sleep(0.01)
    return "seen"
