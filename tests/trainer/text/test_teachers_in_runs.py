"""Every kind of teacher and privileged text in whole runs; a moving teacher is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.short_run import HINTED, carried_out, column, short, trained_rows
from tests.trainer.text.test_resume import stop_after
from tests.trainer.text.tiny_run import events, final_hash, merged, numbers, start
from trainer.spec import Network, RunSpec
from trainer.text import run
from trainer.text.language.models import load
from trainer.text.language.tokenizers import decode
from trainer.text.problems import arithmetic

LORA: dict[str, Any] = {"student": {"adapter": {"kind": "lora", "rank": 2, "alpha": 4.0}}}
SELF = {"objective": {"kind": "reverse_kl"}, "optimiser": {"learning_rate": 0.01}}


def taught(weights: str, *more: dict[str, Any], **changes: Any) -> Any:
    networks = merged(HINTED, {"teacher": {"weights": weights, "ema_rate": 0.3}})
    for networks_change in more:
        networks = merged(networks, networks_change)
    return short(SELF, networks=networks, **changes)


def shown(row: dict[str, Any]) -> str:
    return decode(load(Network(model="builtin:hinted")), row["teacher_prompt_ids"])


def test_the_weights_of_a_self_teacher_differ_as_soon_as_the_student_has_moved(
    tmp_path: Path,
) -> None:
    """At the first step all teachers are the student itself.

    At the second, the average is between the initial copy and the student.
    """
    losses = {
        weights: column(carried_out(taught(weights), tmp_path / weights), "loss")
        for weights in ("initial", "ema", "live")
    }
    assert len({result[0] for result in losses.values()}) == 1
    assert len({result[1] for result in losses.values()}) == 3


def test_an_adapter_that_is_off_teaches_as_the_weights_of_before_the_run(tmp_path: Path) -> None:
    losses = {
        weights: column(carried_out(taught(weights, LORA), tmp_path / weights), "loss")
        for weights in ("initial", "adapter_off", "ema")
    }
    assert losses["initial"] == losses["adapter_off"]
    assert losses["ema"][0] == losses["initial"][0]
    assert losses["ema"][1] != losses["initial"][1]


@pytest.mark.parametrize("more", [{}, LORA], ids=["whole", "adapter"])
def test_a_run_with_a_moving_teacher_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    averaged = {"evaluation": {"every": 2, "ema_decay": 0.5}}
    definition = taught("ema", more, **averaged)
    uninterrupted, resumed = carried_out(definition, tmp_path / "whole"), tmp_path / "parts"
    stop_after(2, monkeypatch)
    assert start(definition, resumed) == 75
    monkeypatch.undo()
    assert run.resume(resumed) == 0
    assert numbers(resumed) == numbers(uninterrupted)
    assert final_hash(resumed) == final_hash(uninterrupted)


def test_measuring_an_average_and_the_teacher_inside_it_leaves_the_student_alone(
    tmp_path: Path,
) -> None:
    """Evaluations swap the average in, and then the teacher.

    The losses must equal those of a run that measures nothing between its steps.
    """
    losses = []
    for every in (0, 1):
        definition = taught("initial", evaluation={"every": every, "ema_decay": 0.9})
        folder = carried_out(definition, tmp_path / str(every))
        losses.append(column(folder, "loss"))
        privileged = [event["privileged"] for event in events(folder, "privileged")]
        assert len(privileged) == 2 + 2 * every
        assert all(event == privileged[0] for event in privileged), (
            "a frozen teacher scores the same however far the student has gone"
        )
    assert losses[0] == losses[1]


def test_every_privileged_text_stands_in_the_teachers_prompt_alone(tmp_path: Path) -> None:
    for shows in ("solution", "answer", "demonstration", "feedback"):
        definition = taught("initial", {"teacher": {"context": {"shows": shows}}})
        rows = trained_rows(carried_out(definition, tmp_path / shows), 1)
        for row in rows:
            question, text = row["question"], shown(row)
            assert text.endswith(question) and text != question
            if shows == "answer":
                assert text == f"[{row['reference']}]{question}"
            elif shows == "feedback":
                verdict = (
                    "was cut off"
                    if row["truncated"]
                    else "is right."
                    if row["verdict"]
                    else "is wrong."
                )
                assert row["text"] in text and f"This answer {verdict}" in text
            elif shows == "solution":
                assert f"{row['reference']}]" in text
        if shows == "demonstration":
            right = {row["problem"]: row["text"] for row in rows if row["verdict"]}
            assert all(
                right.get(row["problem"], f">{row['reference']}") + "]" in shown(row)
                for row in rows
            )


def test_privileged_pass_rates_come_with_their_intervals_and_metrics(tmp_path: Path) -> None:
    folder = carried_out(taught("initial", data={"evaluation": {"count": 12}}), tmp_path)
    before, after = events(folder, "privileged")
    assert (before["when"], after["when"], before["problems"], before["samples"]) == (
        "before",
        "after",
        12,
        1,
    )
    assert before["privileged"]["pass_rate"] > before["plain"]["pass_rate"], (
        "the built-in student reads its hints"
    )
    for readout in ("plain", "privileged", "continuation", "difference"):
        low, high = before[readout]["interval"]
        assert low <= before[readout]["pass_rate"] <= high
    assert (
        numbers(folder)[0, "privileged/continuation_pass_rate"]
        == before["continuation"]["pass_rate"]
    )


def test_held_out_problems_without_a_solution_leave_the_privileged_rate_unmeasured(
    tmp_path: Path,
) -> None:
    path = tmp_path / "held_out.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": f"{number}+{number}=?", "answer": str(2 * number)}) + "\n"
            for number in range(30, 34)
        )
    )
    evaluation = {
        "kind": "file",
        "path": f"file:{path}",
        "columns": {"question": "question", "answer": "answer"},
    }
    folder = carried_out(taught("initial", data={"evaluation": evaluation}), tmp_path / "run")
    assert not events(folder, "privileged")
    assert any(
        "no held-out problem has a worked solution" in event["message"]
        for event in events(folder, "log")
    )


def test_specialists_teach_their_domains_and_the_main_teacher_the_rest(tmp_path: Path) -> None:
    specialist = {"domains": ["sub"], "teacher": {"model": "builtin:hinted"}}
    folder = carried_out(
        short({"problems_per_step": 8}, networks={"specialists": [specialist]}), tmp_path
    )
    rows = trained_rows(folder, 1)
    assert {row["problem"].split("-")[0] for row in rows} == {"add", "sub"}
    by_domain = {
        name: [row for row in rows if row["problem"].startswith(name)] for name in ("add", "sub")
    }
    plain = trained_rows(carried_out(short({"problems_per_step": 8}), tmp_path / "plain"), 1)
    for name, agrees in (("add", True), ("sub", False)):
        of_main = [row["teacher_logprob"] for row in plain if row["problem"].startswith(name)]
        for row, expected in zip(by_domain[name], of_main, strict=True):
            assert (row["teacher_logprob"] == pytest.approx(expected, abs=1e-4)) == agrees


def test_texts_from_a_file_are_learnt_from_without_any_teacher_being_loaded(tmp_path: Path) -> None:
    data = {"kind": "arithmetic", "families": ["add"], "levels": [1], "count": 6, "seed": 1}
    stage = {"objective": {"kind": "cross_entropy"}, "source": "teacher_written"}
    plain = carried_out(short(stage, data={"train": data}), tmp_path / "plain")
    table = {
        row["question"]: f">{row['reference']}"
        for step in (1, 2, 3)
        for row in trained_rows(plain, step)
    }
    path = tmp_path / "texts.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": question, "response": text}) + "\n"
            for question, text in table.items()
        )
    )
    networks = {"teacher": {"kind": "texts", "path": f"file:{path}"}}
    folder = carried_out(short(stage, data={"train": data}, networks=networks), tmp_path / "run")
    rows = trained_rows(folder, 1)
    assert all(
        row["text"] == table[row["question"]] and row["verdict"] and row["source"] == "teacher"
        for row in rows
    )
    assert numbers(folder)[0, "teacher/pass_rate"] == 1


def several_texts(path: Path) -> dict[str, list[str]]:
    """Write a file with three answers to every other problem and one to the others."""
    problems = arithmetic.make(("add", "sub"), (1, 2), 16, 1)
    texts = {
        problem.question: [
            f"{shift * '1+'}>{problem.answer}" for shift in range(3 if index % 2 else 1)
        ]
        for index, problem in enumerate(problems)
    }
    path.write_text(
        "".join(
            json.dumps({"question": question, "response": text}) + "\n"
            for question, answers in texts.items()
            for text in answers
        )
    )
    return texts


def learning_from(path: Path, per_problem: int) -> RunSpec:
    stage = {
        "objective": {"kind": "cross_entropy"},
        "source": "teacher_written",
        "rollouts": {"generate": {"per_problem": per_problem}},
    }
    teacher = {"kind": "texts", "path": f"file:{path}"}
    return short(stage, networks={"teacher": teacher}, checkpoints={"every": 1})


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_step_learns_from_the_answers_that_a_file_has_to_each_problem(
    tmp_path: Path, most: int
) -> None:
    texts = several_texts(tmp_path / "texts.jsonl")
    folder = carried_out(learning_from(tmp_path / "texts.jsonl", most), tmp_path / "run")
    for step in (1, 2, 3):
        answers: dict[str, list[str]] = {}
        for row in trained_rows(folder, step):
            answers.setdefault(row["question"], []).append(row["text"])
        assert len(answers) == 4
        assert all(answers[question] == texts[question][:most] for question in answers)


def test_a_run_with_several_given_answers_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several_texts(tmp_path / "texts.jsonl")
    definition = learning_from(tmp_path / "texts.jsonl", 3)
    uninterrupted, resumed = carried_out(definition, tmp_path / "whole"), tmp_path / "parts"
    stop_after(2, monkeypatch)
    assert start(definition, resumed) == 75
    monkeypatch.undo()
    assert run.resume(resumed) == 0
    assert numbers(resumed) == numbers(uninterrupted)
    assert final_hash(resumed) == final_hash(uninterrupted)


def test_a_pool_that_is_not_measured_is_drawn_from_whole(tmp_path: Path) -> None:
    folder = carried_out(short({"problems_per_step": 8}), tmp_path)
    assert not events(folder, "problems")
    samples = [row["problem"] for step in (1, 2) for row in trained_rows(folder, step)[::2]]
    assert len(set(samples)) == 16
    assert {row["weight"] for row in trained_rows(folder, 1)} == {1.0}
