"""`python -m tests [lint]`: every check and every test, then one summary.

All steps run, even if an earlier one fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.launcher.child_process import describe_exit
from workers.launcher.nodejs import find_nodejs

CLONE = Path(__file__).resolve().parent.parent
RESULTS = CLONE / "var" / "test-results"  # not `test-results`, which Playwright empties
BROWSER = "tests/browser"
VLLM = "tests/vllm"  # needs an environment of its own: `make test-vllm`
MOST_AT_ONCE = 4  # tests in parallel; a trainer needs about a gigabyte of memory
MOST_REPEATED = 5


@dataclass(frozen=True)
class StepResult:
    """The counts of one check or test session."""

    name: str
    seconds: float
    passed: int
    failed: int
    skipped: int = 0
    unsteady: int = 0

    def counts(self) -> str:
        counts_by_label = {"skipped": self.skipped, "only when repeated": self.unsteady}
        return f"{self.passed} passed, {self.failed} failed" + "".join(
            f", {count} {label}" for label, count in counts_by_label.items() if count
        )

    def line(self) -> str:
        return f"{self.name:<18} {self.counts():<34} {self.seconds:6.1f} s"


def main(arguments: Sequence[str]) -> int:
    node = find_nodejs(Path(sys.executable))
    if node is None:
        sys.exit("Node.js is missing. Type `make install`.")
    results = [check(name, command) for name, command in checks(node.node).items()]
    if "lint" not in arguments:
        results.append(script_tests(node.node))
        # Two sessions: Playwright keeps an event loop running in the main thread, which tests of
        # coroutines cannot share.
        results.append(tests("tests", "tests", f"--ignore={BROWSER}", f"--ignore={VLLM}"))
        results.append(tests("browser tests", BROWSER))
    return summary(results)


def checks(node: str) -> dict[str, list[str]]:
    """Return the commands by name; each succeeds or prints what is wrong."""
    python = [sys.executable, "-m"]
    prettier = "node_modules/prettier/bin/prettier.cjs"
    return {
        "lint": [*python, "ruff", "check", "--quiet", "."],
        "format": [*python, "ruff", "format", "--check", "--quiet", "."],
        "types": [*python, "mypy"],
        "import contracts": [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
        ],
        "JavaScript types": [node, "node_modules/typescript/bin/tsc", "--project", "jsconfig.json"],
        "JavaScript lint": [node, "node_modules/eslint/bin/eslint.js", "static", "tests/js"],
        "JavaScript format": [node, prettier, "--check", "static/js", "tests/js/*.js"],
    }


def check(name: str, command: Sequence[str]) -> StepResult:
    print(f"== {name}", flush=True)
    started = time.monotonic()
    process = subprocess.run(
        command, cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if process.returncode:
        print(process.stdout, flush=True)
    return StepResult(
        name, time.monotonic() - started, int(process.returncode == 0), int(process.returncode != 0)
    )


def script_tests(node: str) -> StepResult:
    """Run the tests of the JavaScript modules with Node's own test runner.

    The last lines of its output, `# pass 41`, `# fail 0` …, are the counts.
    """
    print("== JavaScript tests", flush=True)
    started = time.monotonic()
    files = sorted(
        str(file.relative_to(CLONE)) for file in (CLONE / "tests" / "js").glob("*.test.js")
    )
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


def tests(name: str, *arguments: str) -> StepResult:
    """Run one pytest session in parallel; repeat the few tests that fail, one at a time.

    A test that fails beside others on a busy machine and passes alone needs to be made more robust,
    but does not block a change. The summary counts it.
    """
    print(f"== {name}", flush=True)
    started = time.monotonic()
    at_once = min(MOST_AT_ONCE, os.cpu_count() or 1)
    passed, failed, skipped = session(name, "-n", str(at_once), "--dist", "worksteal", *arguments)
    unsteady = 0
    if 0 < failed <= MOST_REPEATED and passed:
        print(f"== {name} that failed, again and alone", flush=True)
        unsteady, still, _ = session(
            f"{name} again", "--last-failed", "--last-failed-no-failures", "none", *arguments
        )
        passed, failed = passed + unsteady, max(still, failed - unsteady)
    return StepResult(name, time.monotonic() - started, passed, failed, skipped, unsteady)


def session(name: str, *arguments: str) -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped; a missing report is a failure."""
    report = RESULTS / f"{name.replace(' ', '-')}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
    code = subprocess.run(command, cwd=CLONE, env={"OMP_NUM_THREADS": "1", **os.environ}).returncode
    if not report.exists():
        print(f"pytest {describe_exit(code)} and left no report.", flush=True)
    passed, failed, skipped = _counts(report)
    return passed, max(failed, int(code != 0)), skipped


def _counts(report: Path) -> tuple[int, int, int]:
    if not report.exists():
        return 0, 1, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    totals = [
        [int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")]
        for suite in suites
    ]
    run, failures, errors, skipped = (sum(column) for column in zip(*totals, strict=True))
    return run - failures - errors - skipped, failures + errors, skipped


def summary(results: Sequence[StepResult]) -> int:
    print("", *(result.line() for result in results), sep="\n")
    passed, failed, skipped, unsteady = (
        sum(column)
        for column in zip(
            *((o.passed, o.failed, o.skipped, o.unsteady) for o in results), strict=True
        )
    )
    print(f"\n{StepResult('', 0, passed, failed, skipped, unsteady).counts()}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
