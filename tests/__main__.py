"""`python -m tests [lint | FILE]`: every check and every test, or some, then one summary.

FILE is a file or folder of tests, or one test as `file::test`; no check runs beside it. All steps
run, even if an earlier one fails.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.steps import (
    CLONE,
    Selection,
    StepResult,
    checks,
    run_checks,
    script_tests,
    tests,
    tests_alone,
)
from workers.launcher.nodejs import find_nodejs

TESTS = CLONE / "tests"
TRAINER, BROWSER = ("tests/trainer", "tests/bench"), "tests/browser"
VLLM = "tests/vllm"  # needs an environment of its own: `make test-vllm`
# Sessions of their own: the trainer's, so that the others need not import torch. And the browser's:
# Playwright keeps an event loop running in the main thread, which tests of coroutines cannot share.
TRAINER_TESTS = Selection("trainer tests", TRAINER)
BROWSER_TESTS = Selection("browser tests", (BROWSER,))
OTHER_TESTS = Selection(
    "other tests", ("tests", *(f"--ignore={folder}" for folder in (*TRAINER, BROWSER, VLLM)))
)


def main(arguments: Sequence[str]) -> int:
    node = find_nodejs(Path(sys.executable))
    if node is None:
        sys.exit("Node.js is missing. Type `make install`.")
    if arguments == ["lint"]:
        return summary(show(run_checks(checks(node.node))))
    if arguments:
        return summary([result for file in arguments for result in selected(file, node.node)])
    # The checks run beside the tests: mypy uses one processor, and many tests wait.
    with ThreadPoolExecutor(1) as beside:
        pending = beside.submit(run_checks, checks(node.node))
        test_results = all_tests(node.node)
        return summary([*show(pending.result()), *test_results])


def all_tests(node: str) -> list[StepResult]:
    return [script_tests(node), *tests(TRAINER_TESTS, OTHER_TESTS, BROWSER_TESTS)]


def selected(selection: str, node: str) -> list[StepResult]:
    """Run the tests of a file or folder, or one test; exit if there is no such file."""
    name, separator, test = selection.partition("::")
    path = (CLONE / name).resolve()
    if not path.exists() or not path.is_relative_to(TESTS):
        sys.exit(f"{name} is not in tests/. Name a file, a folder or file::test in there.")
    if path == TESTS:
        return all_tests(node)
    if path.suffix == ".js" or path == TESTS / "js":
        return [script_tests(node, path)]
    if path.is_dir():
        return tests(Selection("tests", (str(path.relative_to(CLONE)),)))
    return [tests_alone(f"{path.relative_to(CLONE)}{separator}{test}")]


def show(results: Sequence[StepResult]) -> Sequence[StepResult]:
    """Print the output of the checks that failed, and return all results."""
    for result in results:
        if result.failed:
            print(f"== {result.name}\n{result.output}", flush=True)
    return results


def summary(results: Sequence[StepResult]) -> int:
    """Print the counts of each step, the unsteady tests and the totals; return the exit code."""
    print("", *(result.line() for result in results), sep="\n")
    unsteady = [test for result in results for test in result.unsteady]
    if unsteady:
        print("\nUnsteady: these failed beside others and passed alone. Each is a bug; fix it.")
        print(*(f"  {test}" for test in unsteady), sep="\n")
    passed, failed, skipped = (
        sum(column)
        for column in zip(*((o.passed, o.failed, o.skipped) for o in results), strict=True)
    )
    print(f"\n{StepResult('', 0, passed, failed, skipped, tuple(unsteady)).counts()}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
