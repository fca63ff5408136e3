"""The steps of `make test` and `make lint`: checks, JavaScript tests and pytest sessions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from workers.launcher.child_process import describe_exit

CLONE = Path(__file__).resolve().parent.parent
RESULTS = CLONE / "var" / "test-results"  # not `test-results`, which Playwright empties
MOST_AT_ONCE = 4  # tests of a session in parallel; a trainer needs about a gigabyte of memory
SESSIONS_AT_ONCE = 2  # many tests wait for processes, and leave the processors to the others
MOST_REPEATED = 5


@dataclass(frozen=True)
class StepResult:
    """The counts of one check or test session.

    `unsteady` names the tests that failed beside others and passed alone. `output` is what a failed
    check printed.
    """

    name: str
    seconds: float
    passed: int
    failed: int
    skipped: int = 0
    unsteady: tuple[str, ...] = ()
    output: str = ""

    def counts(self) -> str:
        others = {"skipped": self.skipped, "only when repeated": len(self.unsteady)}
        return f"{self.passed} passed, {self.failed} failed" + "".join(
            f", {count} {label}" for label, count in others.items() if count
        )

    def line(self) -> str:
        return f"{self.name:<18} {self.counts():<34} {self.seconds:6.1f} s"


@dataclass(frozen=True)
class Selection:
    """The tests of one pytest session, as arguments of its command line."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Session:
    """The result of one pytest session; tests are named as pytest's command line takes them.

    `failed` is a count, because a session also fails without naming a test.
    """

    passed_tests: frozenset[str] = frozenset()
    failed_tests: frozenset[str] = frozenset()
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


def checks(node: str) -> dict[str, list[str]]:
    """Return the commands by name; each succeeds or prints what is wrong."""
    python = [sys.executable, "-m"]
    prettier = "node_modules/prettier/bin/prettier.cjs"
    return {
        # First, because it takes as long as all others together.
        "types": [*python, "mypy"],
        "lint": [*python, "ruff", "check", "--quiet", "."],
        "format": [*python, "ruff", "format", "--check", "--quiet", "."],
        "import contracts": [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
        ],
        "JavaScript types": [node, "node_modules/typescript/bin/tsc", "--project", "jsconfig.json"],
        "JavaScript lint": [node, "node_modules/eslint/bin/eslint.js", "static", "tests/js"],
        "JavaScript format": [node, prettier, "--check", "static/js", "tests/js/*.js"],
    }


def run_checks(commands: dict[str, list[str]]) -> list[StepResult]:
    """Run the checks, one per processor at a time: none needs the result of another."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(check, commands, commands.values()))


def check(name: str, command: Sequence[str]) -> StepResult:
    started = time.monotonic()
    process = subprocess.run(
        command, cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    failed = int(process.returncode != 0)
    return StepResult(
        name,
        time.monotonic() - started,
        1 - failed,
        failed,
        output=(process.stdout or describe_exit(process.returncode)) if failed else "",
    )


def script_tests(node: str, path: Path = CLONE / "tests" / "js") -> StepResult:
    """Run the tests of the JavaScript modules with Node's own test runner.

    The last lines of its output, `# pass 41`, `# fail 0` …, are the counts.
    """
    print("== JavaScript tests", flush=True)
    started = time.monotonic()
    files = sorted(map(str, path.glob("*.test.js"))) if path.is_dir() else [str(path)]
    process = subprocess.run(
        [node, "--test", "--test-reporter=tap", *files], cwd=CLONE, capture_output=True, text=True
    )
    counts = {
        name: int(number)
        for name, number in re.findall(
            r"^# (pass|fail|cancelled|skipped) (\d+)$", process.stdout, re.M
        )
    }
    if process.returncode:
        print(process.stdout, process.stderr, flush=True)
    failed = counts.get("fail", 0) + counts.get("cancelled", 0)
    seconds = time.monotonic() - started
    return StepResult(
        "JavaScript tests",
        seconds,
        counts.get("pass", 0),
        max(failed, int(process.returncode != 0)),
        counts.get("skipped", 0),
    )


def tests(*selections: Selection) -> list[StepResult]:
    """Run pytest sessions in parallel; then repeat the few tests that fail, one at a time.

    A test that fails beside others on a busy machine and passes alone needs to be made more robust,
    but does not block a change. The summary names it.
    """
    at_once = str(min(MOST_AT_ONCE, os.cpu_count() or 1))
    parallel = ("-n", at_once, "--dist", "worksteal")

    def run(selection: Selection) -> Session:
        return session(
            selection.name, *parallel, *selection.arguments, names_lines=len(selections) > 1
        )

    with ThreadPoolExecutor(SESSIONS_AT_ONCE) as pool:
        sessions = list(pool.map(run, selections))
    return [repeat_failed(*pair) for pair in zip(selections, sessions, strict=True)]


def repeat_failed(selection: Selection, first: Session) -> StepResult:
    """Return the result of a session after its failed tests ran again, unless there are many."""
    passed, failed, seconds = len(first.passed_tests), first.failed, first.seconds
    unsteady = frozenset[str]()
    if 0 < failed <= MOST_REPEATED and passed:
        print(f"== {selection.name} that failed, again and alone", flush=True)
        only_failed = ("--last-failed", "--last-failed-no-failures", "none")
        again = session(selection.name, *only_failed, *selection.arguments)
        unsteady = first.failed_tests & again.passed_tests
        passed, failed = passed + len(unsteady), max(again.failed, failed - len(unsteady))
        seconds += again.seconds
    steady = tuple(sorted(unsteady))
    return StepResult(selection.name, seconds, passed, failed, first.skipped, steady)


def tests_alone(selection: str) -> StepResult:
    """Run one file or one test in one process, which starts sooner than several."""
    result = session("selection", selection)
    return StepResult(
        "tests", result.seconds, len(result.passed_tests), result.failed, result.skipped
    )


def session(name: str, *arguments: str, names_lines: bool = False) -> Session:
    """Run pytest and read its report; a missing report is a failure.

    With `names_lines` each line of its output begins with the name of the session.
    """
    started = time.monotonic()
    report = RESULTS / f"{name.replace(' ', '-')}.xml"
    report.unlink(missing_ok=True)
    # Only this older form of the report has the file of each test. Sessions beside each other must
    # not overwrite each other's list of failed tests.
    options = [f"--junitxml={report}", "-o", "junit_family=xunit1"]
    options += ["-o", f"cache_dir=.pytest_cache/{report.stem}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", *options, *arguments],
        cwd=CLONE,
        env={"OMP_NUM_THREADS": "1", **os.environ},
        stdout=subprocess.PIPE if names_lines else None,
        stderr=subprocess.STDOUT if names_lines else None,
        text=True,
        errors="replace",
    )
    if process.stdout is not None:
        with process.stdout:
            for line in process.stdout:
                print(f"{name}: {line}", end="", flush=True)
    code = process.wait()
    seconds = time.monotonic() - started
    if not report.exists():
        print(f"pytest {describe_exit(code)} and left no report.", flush=True)
        return Session(failed=1, seconds=seconds)
    return replace(read_report(report, code), seconds=seconds)


def read_report(report: Path, exit_code: int) -> Session:
    """Return what a JUnit report says; if pytest failed, at least one failure is counted."""
    passed, failed, skipped = set[str](), set[str](), 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        test = f"{case.get('file')}::{case.get('name')}"
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed.add(test)
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed.add(test)
    return Session(
        frozenset(passed - failed),
        frozenset(failed),
        max(len(failed), int(exit_code != 0)),
        skipped,
    )
