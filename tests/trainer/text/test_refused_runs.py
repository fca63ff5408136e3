"""Runs that cannot work are refused before anything is sampled.

Each error message has the field, the value and the remedy.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text import tiny
from tests.trainer.text.tiny_run import end, events, spec, start
from trainer.cli import main
from trainer.text.training import components

STAGE: dict[str, Any] = {"name": "only", "until": {"steps": 3}, "problems_per_step": 4}
PRIVILEGED = {"kind": "self", "context": {"kind": "privileged", "shows": "solution"}}
TEXTS = {"kind": "texts", "path": "file:answers.jsonl"}
ANSWERED = {
    "kind": "file",
    "path": "file:problems.jsonl",
    "columns": {"question": "q", "answer": "a"},
}
STATED = {"kind": "stated"}
CALIBRATED = {"filter": {"kind": "calibrated"}}
REFUSED: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "texts only": (
        {"networks": {"teacher": TEXTS}, "stages": [{**STAGE, "objective": {"kind": "jsd"}}]},
        "stages.0.objective.kind is jsd",
        ("texts only", "choose cross_entropy"),
    ),
    "nothing to show": (
        {"networks": {"teacher": PRIVILEGED}, "data": {"train": ANSWERED}},
        "networks.teacher.context.shows is solution",
        ("no solution column", "set data.train.columns.solution"),
    ),
    "one answer": (
        {
            "data": {"confidence": STATED},
            "stages": [{**STAGE, "rollouts": {**CALIBRATED, "generate": {"per_problem": 1}}}],
        },
        "stages.0.rollouts.generate.per_problem is 1",
        ("pass rate", "raise it to 8"),
    ),
    "no tokens": (
        {"stages": [{**STAGE, "tokens": {"kind": "selected", "share": 0}}]},
        "stages.0.tokens.share must be above 0",
        ("got “0”",),
    ),
    "no statement": (
        {"stages": [{**STAGE, "rollouts": {**CALIBRATED, "generate": {"per_problem": 8}}}]},
        "stages.0.rollouts.filter.kind is calibrated",
        ("set data.confidence to stated",),
    ),
    "signal of verdicts": (
        {
            "pool": {"measure_snr": True},
            "stages": [
                {
                    **STAGE,
                    "objective": {"kind": "grpo"},
                    "rollouts": {"generate": {"per_problem": 4}},
                }
            ],
        },
        "pool.measure_snr is on",
        ("grpo", "turn it off"),
    ),
    "vLLM for several machines": (
        {"compute": {"nodes": 2, "sampler": {"kind": "vllm"}}},
        "compute.sampler.kind is vllm",
        ("several machines have more", "set nodes and processes to 1 or choose in_process"),
    ),
    "overlap on several machines": (
        {"compute": {"nodes": 2, "overlap": True}},
        "compute.overlap is on",
        ("set nodes and processes to 1",),
    ),
    "shares of one process": (
        {"compute": {"parallel": "fsdp"}},
        "compute.parallel is fsdp",
        ("there is one", "choose ddp"),
    ),
    "more machines than may be": (
        {"compute": {"nodes": 257}},
        "compute.nodes must be at most 256",
        ("got “257”",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_make_no_sense_together_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    settings, field, phrases = REFUSED[name]
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"stages": [STAGE], **settings}))
    assert main(["validate", str(path)]) == 64
    complaints = capsys.readouterr().err.splitlines()[1:]
    assert [
        complaint
        for complaint in complaints
        if complaint.startswith(f"- {field}") and all(phrase in complaint for phrase in phrases)
    ]


def test_a_teacher_with_another_tokenizer_is_refused_with_the_alternatives(tmp_path: Path) -> None:
    characters = tiny.CHARACTERS[::-1]
    teacher = tiny.save_folder(tmp_path / "teacher", tokenizer=tiny.character_tokenizer(characters))
    student = tiny.save_folder(tmp_path / "student")
    networks = {"student": {"model": f"file:{student}"}, "teacher": {"model": f"file:{teacher}"}}
    assert start(spec(networks=networks), tmp_path / "run") == 64
    text = end(tmp_path / "run")["reason"]
    assert "tokenizer" in text and "teacher_written and the objective cross_entropy" in text
    assert not events(tmp_path / "run", "metrics")


def test_solutions_that_are_missing_are_named_before_anything_is_sampled(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    problems = [
        {
            "question": f"{number}+1=?",
            "answer": str(number + 1),
            "solution": "" if number == 7 else f">{number + 1}",
        }
        for number in range(3, 11)
    ]
    path.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    train = {
        "kind": "file",
        "path": f"file:{path}",
        "columns": {"question": "question", "answer": "answer", "solution": "solution"},
    }
    stage = {**STAGE, "source": "solutions", "objective": {"kind": "cross_entropy"}}
    assert start(spec(data={"train": train}, stages=[stage]), tmp_path / "run") == 64
    text = end(tmp_path / "run")["reason"]
    assert text.startswith("1 of 8 training problems") and "no solution to train on" in text
    assert not events(tmp_path / "run", "metrics")


@pytest.mark.parametrize(
    ("confidence", "sentence"),
    [
        (
            {"kind": "stated", "wording": "确信: {value}"},
            "cannot write “确信: 0.00”. Change data.confidence.wording",
        ),
        (
            {"kind": "stated", "wording": "So my confidence in it is: {value}"},
            "Shorten data.confidence.wording",
        ),
    ],
)
def test_a_wording_that_the_student_cannot_write_is_refused_before_anything_is_sampled(
    tmp_path: Path, confidence: dict[str, Any], sentence: str
) -> None:
    assert start(spec(data={"confidence": confidence}), tmp_path / "run") == 64
    assert sentence in end(tmp_path / "run")["reason"]
    assert not events(tmp_path / "run", "evaluation") and not events(tmp_path / "run", "metrics")


def test_vllm_that_is_not_installed_is_refused_before_a_network_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_VLLM_PYTHON", str(tmp_path / "nowhere"))
    monkeypatch.setattr(components, "load", lambda *_: pytest.fail("a network was read"))
    assert start(spec(compute={"sampler": {"kind": "vllm"}}), tmp_path / "run") == 64
    assert end(tmp_path / "run")["reason"].startswith(
        "compute.sampler.kind: vllm is not installed on this machine"
    )
