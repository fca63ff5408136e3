"""Seconds and peak memory of `manage.py import_metrics` for long files of other trackers.

Each file is imported twice; the second import finds everything recorded already.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.services import CLONE, services

SIZES = (100_000, 1_000_000)
MEASURED = r"""
import json, re, sys, time
import manage
start = time.perf_counter()
sys.argv = ["manage.py", "import_metrics", *sys.argv[1:]]
manage.main()
seconds = time.perf_counter() - start
# Not getrusage: it reports the peak of the process that this one was forked from.
with open("/proc/self/status") as status:
    peak = int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])
print(json.dumps([seconds, peak / 1024]))
"""


def measure() -> list[dict[str, Any]]:
    """One row per format and number of events; an event is a step, a time and one value."""
    with services(), tempfile.TemporaryDirectory() as folder:
        import django

        django.setup()
        subprocess.run(
            [sys.executable, "manage.py", "first_admin"],
            cwd=CLONE,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return [
            _measure_format(Path(folder), format, events) for format in WRITERS for events in SIZES
        ]


def _measure_format(folder: Path, format: str, events: int) -> dict[str, Any]:
    name, write = WRITERS[format]
    file = folder / f"{format}-{events}" / name
    file.parent.mkdir()
    with file.open("wb") as stream:
        stream.writelines(write(events))
    command = [sys.executable, "-c", MEASURED, str(file), "--from", format]
    imports = []
    for _ in range(2):
        finished = subprocess.run(command, cwd=CLONE, check=True, capture_output=True, text=True)
        imports.append(json.loads(finished.stdout.splitlines()[-1]))
    (first_seconds, first_peak), (second_seconds, second_peak) = imports
    return {
        "format": format,
        "events": events,
        "MB": round(file.stat().st_size / 1e6, 1),
        "seconds": round(first_seconds, 1),
        "peak MiB": round(first_peak),
        "again, seconds": round(second_seconds, 1),
        "again, peak MiB": round(second_peak),
    }


def _tensorboard(events: int) -> Iterator[bytes]:
    from webapp.clients.importers.tensorboard import masked_crc

    for step in range(events):
        # The protobuf fields of an event by hand, because TensorBoard is not installed: 1 the tag
        # and 2 the number of a value; 1 the time, 2 the step and 5 the summary of an event.
        value = b"\x0a\x04loss\x15" + struct.pack("<f", 1 / (step + 1))
        summary = bytes([0x0A, len(value)]) + value
        event = (
            b"\x09"
            + struct.pack("<d", 1.7e9 + step)
            + b"\x10"
            + _varint(step)
            + bytes([0x2A, len(summary)])
            + summary
        )
        length = struct.pack("<Q", len(event))
        yield length + struct.pack("<I", masked_crc(length)) + event + bytes(4)


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + _varint(number >> 7)


def _wandb(events: int) -> Iterator[bytes]:
    yield b"_step,_timestamp,loss\n"
    for step in range(events):
        yield b"%d,%f,%.17g\n" % (step, 1.7e9 + step, 1 / (step + 1))


def _mlflow(events: int) -> Iterator[bytes]:
    yield b"run_id,key,value,step,timestamp\n"
    for step in range(events):
        yield b"run%d,loss,%.17g,%d,%d\n" % (
            events,
            1 / (step + 1),
            step,
            1_700_000_000_000 + 1000 * step,
        )


WRITERS: dict[str, tuple[str, Callable[[int], Iterator[bytes]]]] = {
    "tensorboard": ("events.out.tfevents.1", _tensorboard),
    "wandb": ("run.csv", _wandb),
    "mlflow": ("run.csv", _mlflow),
}
