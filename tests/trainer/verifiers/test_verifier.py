"""Verdicts come from a process that may hang, die or be fed anything: the others are not
affected.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from trainer.spec import ExactVerifier, MathVerifier, NumericVerifier
from trainer.text.verifiers import Verdict, Verifier, VerifierError

ENDLESS = "$9^{9^{9^{9}}}$"
MATHEMATICS = [
    ("so $\\frac{1}{2}$", "0.5", True),
    ("\\boxed{x^2+2x+1}", "(x+1)^2", True),
    ("The answer is 1,234", "1234", True),
    ("$\\{1, 2\\}$", "\\{2, 1\\}", True),
    ("\\boxed{3}", "$4$", False),
    ("no formula", "3", False),
]


def judges() -> list[psutil.Process]:
    """The verifiers' processes; the test session may have other children."""
    return [
        child
        for child in psutil.Process().children()
        if "trainer.text.verifiers.judge_process" in child.cmdline()
    ]


def test_verdicts_come_in_order() -> None:
    with Verifier(NumericVerifier()) as verifier:
        verdicts = verifier.judge([(f"it is {n}", str(n % 2 * n)) for n in range(2000)])
    assert [verdict.correct for verdict in verdicts] == [n % 2 == 1 or n == 0 for n in range(2000)]
    assert verdicts[1999] == Verdict(True, "1999")


def test_nothing_to_judge_needs_no_process() -> None:
    with Verifier(NumericVerifier()) as verifier:
        assert verifier.judge([]) == []
        assert judges() == []


def test_references_are_shown_as_they_are_compared() -> None:
    with Verifier(NumericVerifier()) as verifier:
        assert verifier.read_reference("so\n#### 1,000") == "1,000"
        assert verifier.read_references(["7 apples", "blue"]) == ["7", ""]


def test_mathematical_equality_survives_what_never_ends() -> None:
    with Verifier(MathVerifier(), seconds=4.0) as verifier:
        pairs = [(completion, reference) for completion, reference, _ in MATHEMATICS]
        verdicts = verifier.judge([*pairs[:3], (ENDLESS, "3"), *pairs[3:], ("1", "")])
    expected = [correct for _, _, correct in MATHEMATICS]
    assert [verdict.correct for verdict in verdicts] == [*expected[:3], None, *expected[3:], None]


def test_a_process_that_dies_costs_one_verdict() -> None:
    with Verifier(NumericVerifier()) as verifier:
        verifier.judge([("1", "1")])
        (child,) = judges()
        child.kill()
        verdicts = verifier.judge([("1", "1"), ("2", "2"), ("3", "4")])
    assert [verdict.correct for verdict in verdicts] == [None, True, False]


def test_a_process_that_stops_answering_costs_one_verdict() -> None:
    with Verifier(NumericVerifier(), seconds=0.5) as verifier:
        verifier.judge([("1", "1")])
        (child,) = judges()
        child.suspend()
        verdicts = verifier.judge([("1" * 90_000, "1"), ("2", "2")])
    assert [verdict.correct for verdict in verdicts] == [None, True]


def test_a_death_in_the_middle_of_many_verdicts_loses_one() -> None:
    with Verifier(NumericVerifier()) as verifier:
        verifier.judge([("1", "1")])
        (child,) = judges()
        threading.Timer(0.05, child.kill).start()
        verdicts = verifier.judge([("the sum is 4", "4")] * 20_000)
    assert len(verdicts) == 20_000
    assert [verdict.correct for verdict in verdicts].count(None) <= 1
    assert all(verdict.correct is not False for verdict in verdicts)


def test_signals_to_the_whole_group_do_not_end_it() -> None:
    with Verifier(NumericVerifier()) as verifier:
        verifier.judge([("1", "1")])
        (child,) = judges()
        child.send_signal(2)
        child.send_signal(15)
        assert verifier.judge([("1", "1")]) == [Verdict(True, "1")]
        assert judges() == [child]


def test_huge_and_broken_text_is_judged() -> None:
    with Verifier(NumericVerifier()) as verifier:
        verdicts = verifier.judge(
            [("x" * 3_000_000 + " 5", "5"), ("\ud800 5\0 6", "6"), ("\u2028\n\r 7", "7")]
        )
    assert [verdict.correct for verdict in verdicts] == [True, True, True]


def test_nothing_is_left_behind() -> None:
    with Verifier(ExactVerifier()) as verifier:
        verifier.judge([("a", "a")])
        (child,) = judges()
    assert not child.is_running()


def test_an_orphan_ends_itself(tmp_path: Path) -> None:
    program = (
        "import os, psutil\nfrom trainer.spec import ExactVerifier\nfrom "
        "trainer.text.verifiers import Verifier\n"
        "verifier = Verifier(ExactVerifier())\nverifier.judge([('a', 'a')])\n"
        "print(psutil.Process().children()[0].pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    orphan = int(parent.stdout)
    for _ in range(500):
        if not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.02)
    pytest.fail("the verifier's process outlived its parent")


def test_it_starts_from_any_folder_and_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    with Verifier(NumericVerifier()) as verifier:
        verifier.judge([("1", "1")])
        (child,) = judges()
        assert not any("libtorch" in region.path for region in child.memory_maps())


def test_a_process_that_cannot_start_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    os.symlink("/bin/false", tmp_path / "python")
    with (
        pytest.raises(VerifierError, match="does not start"),
        Verifier(NumericVerifier()) as verifier,
    ):
        verifier.judge([("1", "1")])


def test_it_ends_once_its_whole_time_is_over() -> None:
    with Verifier(MathVerifier(), total_seconds=0.0) as verifier:
        with pytest.raises(VerifierError, match="did not answer in time"):
            verifier.read_reference("5")
        assert verifier.child is None


def test_what_never_ends_is_stopped_with_the_whole_time() -> None:
    with Verifier(MathVerifier(), seconds=600.0, total_seconds=10.0) as verifier:
        with pytest.raises(VerifierError):
            verifier.judge([(ENDLESS, "$9^{9^{9^{8}}}$")] * 3)
        assert judges() == []
