"""A student ends where its teacher does, as a base model under a chat template must."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.text.short_run import carried_out, column, short
from tests.trainer.text.tiny_run import events
from trainer.spec.jobs import CheckpointModel
from trainer.text.builtin import __file__ as builtin
from trainer.text.jobs.model_loading import load_model

TEACHER = Path(builtin).parent / "teacher"


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def pair(folder: Path, student_ends: int | list[int], teacher_ends: list[int]) -> dict[str, Any]:
    """Two copies of the built-in teacher that name other end tokens; it writes 1 at the end."""
    for name in ("teacher", "student"):
        shutil.copytree(TEACHER, folder / name)
    edited(folder / "teacher" / "generation_config.json", eos_token_id=teacher_ends)
    for file in ("generation_config.json", "config.json"):
        edited(folder / "student" / file, eos_token_id=student_ends)
    if student_ends == 2:
        edited(folder / "student" / "tokenizer_config.json", eos_token="<unk>", unk_token="<pad>")
    return {
        "student": {"model": f"file:{folder / 'student'}"},
        "teacher": {"kind": "model", "model": f"file:{folder / 'teacher'}"},
    }


@pytest.mark.parametrize("source", ["student_rollouts", "teacher_written"])
def test_a_student_with_another_end_token_ends_as_its_teacher_does(
    tmp_path: Path, source: str
) -> None:
    stage = {"source": source, "objective": {"kind": "forward_kl"}, "until": {"steps": 2}}
    definition = short(stage, networks=pair(tmp_path, 2, [1, 2]), checkpoints={"every": 1})
    folder = carried_out(definition, tmp_path / "run")
    same_ends = short(stage, networks=pair(tmp_path / "same", 1, [1, 2]))
    before, expected = (
        events(each, "evaluation")[0]
        for each in (folder, carried_out(same_ends, tmp_path / "same" / "run"))
    )
    assert before["pass_rate"] == expected["pass_rate"] > 0
    assert before["truncated"] == expected["truncated"] < 1
    assert column(folder, "truncated/share")[-1] < 1
    messages = [event["message"] for event in events(folder, "log")]
    assert any("answers end at <eos> too" in message for message in messages)

    checkpoint = next((folder / "attempts" / "1" / "checkpoints").glob("step-*"))
    stored = json.loads((checkpoint / "generation_config.json").read_text())
    assert stored["eos_token_id"] == [2, 1]
    model = CheckpointModel(checkpoint=f"file:{checkpoint}")
    assert load_model(model, 0, torch.device("cpu")).eos_ids == (2, 1)


def test_a_pair_without_a_common_end_is_refused_with_the_reason(tmp_path: Path) -> None:
    networks = pair(tmp_path, 2, [1])
    stage = {"objective": {"kind": "forward_kl"}, "until": {"steps": 1}}
    with pytest.raises(AssertionError):
        carried_out(short(stage, networks=networks), tmp_path / "run")
    end = events(tmp_path / "run", "end")[0]
    assert end["outcome"] == "failed" and "end texts with different tokens" in end["reason"]


@pytest.mark.parametrize("estimate", ["never", "before"])
def test_a_run_without_a_teacher_warns_once_where_all_answers_are_cut(
    tmp_path: Path, estimate: str
) -> None:
    """Each time with the end tokens, and with the one that the chat template writes."""
    networks = {"student": pair(tmp_path, 2, [1, 2])["student"] | {"chat_template": True}}
    template = (
        "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}<eos>{% endif %}"
    )
    (tmp_path / "student" / "chat_template.jinja").write_text(f"{template}{{% endfor %}}")
    stage = {"objective": {"kind": "grpo"}, "until": {"steps": 3}}
    definition = short(stage, networks=networks, pool={"estimate": estimate})
    folder = carried_out(definition, tmp_path / "run")
    warnings = [
        event["message"]
        for event in events(folder, "log")
        if event["level"] == "warning" and "were cut at the length limit" in event["message"]
    ]
    assert len(warnings) == (1 if estimate == "never" else 2)
    for warning in warnings:
        assert "answers of the student were cut at the length limit of " in warning
        assert "It ends answers at <unk>; its chat template ends them with <eos>" in warning
        assert "eos_token_id in the model's generation_config.json" in warning


def test_a_run_whose_answers_end_warns_of_no_cuts(tmp_path: Path) -> None:
    networks = {"student": pair(tmp_path, 1, [1, 2])["student"]}
    generate = {"sampling": {"max_new_tokens": 80}}
    stage = {"objective": {"kind": "grpo"}, "until": {"steps": 1}}
    stage["rollouts"] = {"generate": generate}
    folder = carried_out(short(stage, networks=networks), tmp_path / "run")
    assert not any("were cut at the length limit of" in e["message"] for e in events(folder, "log"))
