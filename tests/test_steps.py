"""`make test` runs what was asked for and names the tests that passed only when repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import __main__ as command
from tests import steps
from tests.steps import Selection, Session, StepResult

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase file="tests/test_a.py" name="test_one[x y]"/>
<testcase file="tests/test_a.py" name="test_two"><failure/></testcase>
<testcase file="tests/test_a.py" name="test_three"/>
<testcase file="tests/test_a.py" name="test_three"><error/></testcase>
<testcase file="tests/test_b.py" name="test_four"><skipped/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The names of the steps that were asked for, with their arguments; none is executed."""
    calls: list[tuple[str, ...]] = []

    def record(name: str, result: object) -> None:
        def step(*arguments: object) -> object:
            calls.append((name, *map(str, arguments)))
            return result

        monkeypatch.setattr(command, name, step)

    passed = StepResult("step", 1.0, 1, 0)
    for name in ("script_tests", "tests_alone"):
        record(name, passed)
    for name in ("run_checks", "tests"):
        record(name, [passed])
    monkeypatch.setattr(command, "checks", lambda node: {})
    return calls


def test_without_an_argument_every_check_and_every_test_runs(
    calls: list[tuple[str, ...]],
) -> None:
    assert command.main([]) == 0
    assert sorted(name for name, *_ in calls) == ["run_checks", "script_tests", "tests"]


def test_lint_runs_the_checks_only(calls: list[tuple[str, ...]]) -> None:
    assert command.main(["lint"]) == 0
    assert [name for name, *_ in calls] == ["run_checks"]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("tests/test_tree.py", ("tests_alone", "tests/test_tree.py")),
        ("tests/test_tree.py::test_x[a b]", ("tests_alone", "tests/test_tree.py::test_x[a b]")),
        ("tests/browser/test_data.py", ("tests_alone", "tests/browser/test_data.py")),
        (str(steps.CLONE / "tests/test_tree.py"), ("tests_alone", "tests/test_tree.py")),
        ("tests/webapp/", ("tests", str(Selection("tests", ("tests/webapp",))))),
    ],
)
def test_a_file_runs_in_one_process_and_a_folder_in_several(
    calls: list[tuple[str, ...]], selection: str, expected: tuple[str, ...]
) -> None:
    assert command.main([selection]) == 0
    assert calls == [expected]


@pytest.mark.parametrize("selection", ["tests/js/format.test.js", "tests/js"])
def test_javascript_tests_run_with_node(calls: list[tuple[str, ...]], selection: str) -> None:
    assert command.main([selection]) == 0
    [(name, _, path)] = calls
    assert (name, path) == ("script_tests", str(steps.CLONE / selection))


def test_the_folder_of_all_tests_runs_them_without_checks(calls: list[tuple[str, ...]]) -> None:
    assert command.main(["tests"]) == 0
    assert [name for name, *_ in calls] == ["script_tests", "tests"]


def test_each_test_belongs_to_one_of_the_sessions() -> None:
    """Only the tests with the real vLLM, which has an environment of its own, belong to none."""
    folders = {
        f"tests/{path.name}"
        for path in (steps.CLONE / "tests").iterdir()
        if next(path.rglob("test_*.py"), None)
    }
    other, ignored = command.OTHER_TESTS.arguments[0], command.OTHER_TESTS.arguments[1:]
    selected = {*command.TRAINER_TESTS.arguments, *command.BROWSER_TESTS.arguments}
    assert other == "tests" and selected < folders
    assert set(ignored) == {f"--ignore={folder}" for folder in selected | {command.VLLM}}


@pytest.mark.parametrize("selection", ["tests/test_nothing.py", "trainer", "test_tree.py"])
def test_what_is_not_in_the_folder_of_tests_is_refused(
    calls: list[tuple[str, ...]], selection: str
) -> None:
    with pytest.raises(SystemExit, match=f"{selection} is not in tests/"):
        command.main([selection])
    assert calls == []


def test_a_report_names_the_tests_that_passed_and_failed(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    assert steps.read_report(tmp_path / "report.xml", 1) == Session(
        passed_tests=frozenset({"tests/test_a.py::test_one[x y]"}),
        failed_tests=frozenset({"tests/test_a.py::test_two", "tests/test_a.py::test_three"}),
        failed=2,
        skipped=1,
    )


def test_a_session_that_fails_without_a_failed_test_counts_as_a_failure(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text("<testsuites/>")
    assert steps.read_report(tmp_path / "report.xml", 2).failed == 1


def test_a_test_that_passes_only_alone_is_named_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = iter(
        [
            Session(frozenset({"a.py::good"}), frozenset({"a.py::shaky", "a.py::bad"}), failed=2),
            Session(frozenset({"a.py::shaky"}), frozenset({"a.py::bad"}), failed=1),
        ]
    )
    monkeypatch.setattr(steps, "session", lambda *_, **__: next(sessions))
    [result] = steps.tests(Selection("tests", ("tests",)))

    assert (result.passed, result.failed, result.unsteady) == (2, 1, ("a.py::shaky",))
    assert command.summary([result]) == 1
    printed = capsys.readouterr().out
    assert "Each is a bug; fix it.\n  a.py::shaky\n" in printed
    assert printed.endswith("2 passed, 1 failed, 1 only when repeated\n")


def test_a_repetition_that_is_killed_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = iter(
        [Session(frozenset({"a.py::good"}), frozenset({"a.py::bad"}), 1), Session(failed=1)]
    )
    monkeypatch.setattr(steps, "session", lambda *_, **__: next(sessions))
    [result] = steps.tests(Selection("tests", ("tests",)))

    assert (result.passed, result.failed, result.unsteady) == (1, 1, ())


def test_the_output_of_a_failed_check_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {"good": ["sh", "-c", "echo unseen"], "bad": ["sh", "-c", "echo wrong; exit 3"]}
    results = command.show(steps.run_checks(commands))

    assert [(result.name, result.passed, result.failed) for result in results] == [
        ("good", 1, 0),
        ("bad", 0, 1),
    ]
    assert capsys.readouterr().out == "== bad\nwrong\n\n"


def test_the_lines_of_sessions_beside_each_other_name_their_session(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest_double = tmp_path / "pytest"
    pytest_double.write_text("#!/bin/sh\necho collected\necho broken >&2\nexit 3\n")
    pytest_double.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(pytest_double))
    results = steps.tests(Selection("one half", ()), Selection("the other", ()))

    assert [(result.name, result.failed) for result in results] == [
        ("one half", 1),
        ("the other", 1),
    ]
    printed = capsys.readouterr().out.splitlines()
    expected = ["one half: collected", "one half: broken"]
    assert [line for line in printed if line.startswith("one half:")] == expected
