"""`python -m tests.fuzz TARGET --minutes N --seed S --out FOLDER`: random and damaged inputs.

Each input is read by a child process, which is killed and started again if it hangs or crashes.
For every input holds: only documented errors, at most a second of processor time, bounded memory
and output, nothing written outside the input's folder, no program started.

FOLDER gets `report.json`, and in `failures/` one input for each place of failure, made as small as
possible, with its traceback. `--replay FILE` reads stored inputs again. Put the inputs of fixed
failures into `tests/fuzz/corpus/TARGET/`, which the tests read.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from tests.fuzz.child import Progress, fuzz, replay
from tests.fuzz.findings import Findings
from tests.fuzz.guard import Failure
from tests.fuzz.targets import MODULES, WITHOUT_DATABASE

# Of processor time, and of any time, that one input may take before the child is killed.
HUNG_SECONDS, BLOCKED_SECONDS = 30.0, 300.0
# A child that dies before it has read anything will not do better the next time.
MOST_STARTS_IN_VAIN = 3

context = get_context("spawn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(MODULES))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("var/fuzz"))
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args(arguments)
    folder: Path = options.out.resolve()
    findings = Findings(folder)
    with no_services() if options.target in WITHOUT_DATABASE else services():
        if options.replay:
            return replay(options.target, folder, [path.resolve() for path in options.replay])
        findings.clear()
        progress = Progress(context.RawArray("d", len(Progress.NAMES)))
        # Interrupted, it reports what it has.
        with suppress(KeyboardInterrupt):
            _run(options.target, options.seed, 60 * options.minutes, findings, progress)
        report = _report(options.target, options.seed, findings, progress)
    report_text = json.dumps(report, indent=1)
    (folder / "report.json").write_text(report_text + "\n")
    print(
        f"{options.target}: {report['inputs']:,} inputs with {report['outcomes']:,} outcomes, "
        f"{report['cpu_seconds']:,.0f} s of processor time, slowest input "
        f"{report['slowest_seconds']:.2f} s, {report['growth_mib']:.0f} MiB grown, "
        f"{len(report['failures'])} failures"
    )
    for failure in report["failures"]:
        print(f"  {failure}")
    return int(bool(report["failures"]))


def _run(target: str, seed: int, seconds: float, findings: Findings, progress: Progress) -> None:
    """Have children read inputs for `seconds`."""
    deadline = time.monotonic() + seconds
    starts_in_vain = 0
    while (left := deadline - time.monotonic()) > 0 and starts_in_vain < MOST_STARTS_IN_VAIN:
        inputs_before = progress["inputs"]
        # Not a daemon: the server reads files in children of its own. It ends without its parent.
        process = context.Process(target=fuzz, args=(target, seed, left, findings.folder, progress))
        process.start()
        kind = _watch(process, progress, findings)
        if kind:
            findings.keep_current(kind)
        starts_in_vain = 0 if progress["inputs"] > inputs_before else starts_in_vain + 1
    if starts_in_vain:
        findings.keep(Failure("does not start", target, "see the output above"), {})


def _report(target: str, seed: int, findings: Findings, progress: Progress) -> dict[str, Any]:
    return {
        "target": target,
        "seed": seed,
        "inputs": int(progress["inputs"]),
        "outcomes": findings.outcomes,
        "cpu_seconds": round(progress["seconds"], 1),
        "slowest_seconds": round(progress["slowest"], 3),
        "growth_mib": round(progress["growth"] / 2**20, 1),
        "failures": findings.failures(),
    }


def _watch(process: SpawnProcess, progress: Progress, findings: Findings) -> str:
    """Wait for the end of the child; return why its last input ended it, or nothing."""
    number, begun, begun_seconds = -1.0, time.monotonic(), 0.0
    while process.is_alive():
        process.join(0.5)
        if progress["current"] != number:
            number, begun = progress["current"], time.monotonic()
            begun_seconds = _processor_seconds(process)
            continue
        is_hung = _processor_seconds(process) - begun_seconds > HUNG_SECONDS
        if process.is_alive() and (is_hung or time.monotonic() - begun > BLOCKED_SECONDS):
            # faulthandler writes where it is.
            os.kill(process.pid or 0, signal.SIGUSR1)
            process.join(2)
            process.kill()
            process.join()
            return "hang"
    if process.exitcode == 0:
        return ""
    code = process.exitcode or 0
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _processor_seconds(process: SpawnProcess) -> float:
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def no_services() -> Iterator[None]:
    yield


@contextmanager
def services() -> Iterator[None]:
    """Postgres and Redis as the tests have them, with the tables."""
    # Importing it chooses the addresses of the services, and makes their folder.
    from tests import services as test_services

    try:
        test_services.start()
        os.environ["DJANGO_SETTINGS_MODULE"] = "webapp.settings"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        yield
    finally:
        test_services.stop()


if __name__ == "__main__":
    sys.exit(main())
