"""The process that makes inputs, has them read and keeps what fails."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import contextmanager
from multiprocessing.util import get_temp_dir
from pathlib import Path
from random import Random

from tests.fuzz import inputs, targets
from tests.fuzz.findings import Findings
from tests.fuzz.guard import MOST_BYTES, Failure, Guard, memory
from tests.fuzz.inputs import Input, Target
from tests.fuzz.minimising import minimised

# What one input may allocate before it gets a MemoryError, so that the machine does not suffer.
MOST_DATA = 2 * 2**30
# Inputs before the memory of the process is measured: until then it loads modules and fills caches.
WARM_UP = 500


class Progress:
    """Numbers that the parent reads while the child works, also after the child was killed."""

    NAMES = ("inputs", "seconds", "slowest", "growth", "current", "base")

    def __init__(self, numbers: MutableSequence[float]) -> None:
        self._numbers = numbers

    def __getitem__(self, name: str) -> float:
        return self._numbers[self.NAMES.index(name)]

    def __setitem__(self, name: str, value: float) -> None:
        self._numbers[self.NAMES.index(name)] = value


def fuzz(name: str, seed: int, seconds: float, folder: Path, progress: Progress) -> None:
    """Read inputs for `seconds`, from the number on at which the last child ended."""
    findings, parent = Findings(folder), os.getppid()
    _limit(findings)
    with _opened(name, folder) as (target, guard, read):
        known = [*target.seeds, *findings.known()]
        deadline = time.monotonic() + seconds
        base, first = 0, progress["current"]
        # The seeds themselves first: each has an outcome.
        queue = list(target.seeds) if not first else []
        # Not longer than its parent, which would kill it if it hung.
        while time.monotonic() < deadline and os.getppid() == parent:
            progress["current"] += 1
            random = Random(f"{seed} {progress['current']:.0f}")
            input = queue.pop() if queue else target.make(random, known)
            inputs.save(input, findings.current)
            result = guard.examine(read, input)
            progress["inputs"] += 1
            progress["seconds"] += result.seconds
            if result.seconds > progress["slowest"]:
                progress["slowest"] = result.seconds
                inputs.save(input, folder / "slowest.json")
            if result.failure:
                _keep(findings, guard, read, input, result.failure)
            elif findings.keep_outcome(result.outcome, input):
                known.append(input)
            if progress["current"] == first + WARM_UP:
                gc.collect()
                base = memory()
        gc.collect()
        if base and (growth := memory() - base) > progress["growth"]:
            progress["growth"] = growth
            if growth > MOST_BYTES:
                text = f"{growth / 2**20:.0f} MiB in {progress['current'] - first:.0f} inputs"
                findings.keep(Failure("memory that stays", name, text), {})


def replay(name: str, folder: Path, paths: list[Path]) -> int:
    """Read stored inputs again and print what comes of them; return 1 if any fails."""
    failed = 0
    with _opened(name, folder) as (_, guard, read):
        for path in paths:
            result = guard.examine(read, inputs.load(path))
            print(f"{path.name}: {result.seconds:.2f} s, {result.growth / 2**20:.0f} MiB")
            print(
                f"  {result.failure.kind}\n{result.failure.text}" if result.failure else "", end=""
            )
            print(f"  {result.outcome[:500]!r}")
            failed += result.failure is not None
    return int(failed > 0)


def _keep(
    findings: Findings, guard: Guard, read: inputs.Read, input: Input, failure: Failure
) -> None:
    if not findings.is_new(failure):
        return
    if failure.kind == "slow":
        # A disturbed machine may make one look slow; the same one is not slow each time.
        again = [guard.examine(read, input).failure for _ in range(2)]
        if not all(each and each.kind == "slow" for each in again):
            return
    findings.keep(failure, input)

    def fails(candidate: Input) -> bool:
        found = guard.examine(read, candidate).failure
        return found is not None and (found.kind, found.place) == (failure.kind, failure.place)

    findings.keep(failure, minimised(input, fails))


@contextmanager
def _opened(name: str, out: Path) -> Iterator[tuple[Target, Guard, inputs.Read]]:
    """The target in a folder of its own, which is the working directory and has all its files."""
    logging.disable()
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True
    folder = out / "files"
    # A child that was killed has left its own.
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "temporary").mkdir(parents=True)
    # Made before: multiprocessing deletes it when this process ends.
    get_temp_dir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "temporary")
    os.chdir(folder / "temporary")
    try:
        server_seconds = (lambda: 0.0) if name in targets.WITHOUT_DATABASE else _set_up_database()
        target = targets.load(name)
        with target.open(folder) as read:
            yield target, Guard(folder, server_seconds), read
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def _set_up_database() -> Callable[[], float]:
    """Set up Django; return the processor time that the server has spent for this process."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "webapp.settings"
    import django
    import psutil
    from django.db import connection
    from django.test.utils import setup_test_environment

    django.setup()
    setup_test_environment()

    def seconds() -> float:
        if connection.connection is None or connection.connection.closed:
            return 0.0
        try:
            times = psutil.Process(connection.connection.info.backend_pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    return seconds


def _limit(findings: Findings) -> None:
    # Open as long as the process: faulthandler writes into it when the process is about to end.
    fault = findings.fault.open("w")
    faulthandler.enable(fault)
    faulthandler.register(signal.SIGUSR1, fault)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = memory("VmData") + MOST_DATA
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
