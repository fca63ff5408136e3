"""A recording: the numbers of a run, and the machine and libraries that computed them.

A file has one line per key. JSON writes a float with the shortest digits that read back as the same
float, so nothing is lost.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.golden.runs import ENVIRONMENT, Numbers, Reading

FOLDER = Path(__file__).parent / "recordings"
CPU_INFO = Path("/proc/cpuinfo")
CPU_FIELDS = ("model name", "cpu family", "model")  # virtual machines often shorten the name

Header = dict[str, str]


@dataclass(frozen=True)
class Recording:
    """`seconds` says how long the run took; it is reported, not compared."""

    header: Header
    seconds: float
    numbers: Numbers


def header() -> Header:
    """What decides the last bits of a result: library versions, CPU, instruction set, threads."""
    import torch  # takes seconds, and a test that only compares files does not need it

    return {
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
        "numpy": metadata.version("numpy"),
        "cpu": _cpu(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": ENVIRONMENT["OMP_NUM_THREADS"],
    }


def _cpu() -> str:
    if not CPU_INFO.exists():
        return platform.processor() or platform.machine()
    first = CPU_INFO.read_text(encoding="utf-8").partition("\n\n")[0]
    fields = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    return ", ".join(f"{name} {fields[name]}" for name in CPU_FIELDS if name in fields)


def path_of(recipe: str) -> Path:
    return FOLDER / f"{recipe}.json"


def save(recording: Recording, path: Path) -> None:
    """Write `[step, value, …]` for each reading of a key."""
    head = json.dumps(recording.header, indent=1)
    lines = []
    for key, readings in recording.numbers.items():
        rows = [[reading.step, *reading.values] for reading in readings]
        lines.append(f"{json.dumps(key)}: {json.dumps(rows)}")
    numbers = "{\n" + ",\n".join(lines) + "\n}"
    members = [f'"header": {head}', f'"seconds": {recording.seconds}', f'"numbers": {numbers}']
    path.parent.mkdir(exist_ok=True)
    path.write_text("{\n" + ",\n".join(members) + "\n}\n", encoding="utf-8")


def load(path: Path) -> Recording:
    """Raises FileNotFoundError if nothing was recorded."""
    content = json.loads(path.read_text(encoding="utf-8"))
    numbers: Numbers = {}
    for key, rows in content["numbers"].items():
        numbers[key] = [Reading(step, tuple(values)) for step, *values in rows]
    return Recording(content["header"], content["seconds"], numbers)
