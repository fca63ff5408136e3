"""CaOPD in whole runs: the replaced confidences and their metrics; answers still end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.text.short_run import STATED, carried_out, column, short, trained_rows
from tests.trainer.text.tiny_run import events, merged, numbers
from trainer.spec import Network
from trainer.text.builtin.tokenizer import CONFIDENCES
from trainer.text.language.models import LanguageModel, load
from trainer.text.problems.arithmetic import make

PAIR: dict[str, Any] = {
    "student": {"model": "builtin:confident"},
    "teacher": {"kind": "model", "model": "builtin:teacher"},
}
CALIBRATED: dict[str, Any] = {
    "rollouts": {
        "generate": {"per_problem": 4, "sampling": {"max_new_tokens": 40}},
        "filter": {
            "kind": "calibrated",
            "in_note": False,
            "in_privileged": False,
            "target": "one_hot",
            "weight": 0.1,
        },
    },
}


def confident(stage: dict[str, Any], **changes: Any) -> Any:
    return short(
        merged(CALIBRATED, stage), **{"networks": PAIR, "data": {"confidence": STATED}, **changes}
    )


@pytest.mark.parametrize("target", ["teacher", "one_hot"])
def test_every_finished_answer_is_taught_the_pass_rate_of_its_problem(
    tmp_path: Path, target: str
) -> None:
    folder = carried_out(
        confident({"rollouts": {"filter": {"target": target}}, "until": {"steps": 1}}), tmp_path
    )
    rows = trained_rows(folder, 1)
    for row in rows:
        verdicts = [sibling["verdict"] for sibling in rows if sibling["problem"] == row["problem"]]
        assert row["target_confidence"] == sum(verdicts) / len(verdicts)
        assert row["edited"] != row["truncated"]
        if row["edited"]:
            assert CONFIDENCES[round(10 * row["target_confidence"])] == row["tokens"][-2] or row[
                "target_confidence"
            ] in (0.25, 0.75)
            assert row["kind"][-2:] == [3 if target == "one_hot" else 1, 3]
            assert set(row["kind"][:-2]) <= {1}
            assert row["coefficient"][-2] == pytest.approx(0.1)
            assert row["student_logprob"][-1] is not None and row["divergence"][-1] is None
    messages = events(folder, "pipeline")[0]
    assert messages["share_edited"] == sum(row["edited"] for row in rows) / len(rows)
    assert messages["generated"] == messages["consumed"] + sum(messages["dropped"].values())
    assert set(messages["dropped"]) == {"replaced"}


def test_every_readout_reports_calibration_and_malformed_statements(tmp_path: Path) -> None:
    """Truncated answers have no statement.

    They count as 0 in the stated readout, and are left out of the expected one.
    """
    folder = carried_out(
        confident({"until": {"steps": 1}}, evaluation={"final_samples": 2}), tmp_path
    )
    result = {(event["when"], event["readout"]): event for event in events(folder, "calibration")}
    assert set(result) == {
        (when, readout)
        for when in ("before", "after")
        for readout in ("stated", "expected", "answer")
    }
    stated, expected = result["before", "stated"], result["before", "expected"]
    missing = sum(stated["malformed"].values())
    assert set(stated["malformed"]) == {"missing", "duplicated", "out_of_range", "malformed"}
    assert stated["n"] == 8 == expected["n"] + missing
    assert stated["malformed_share"] == missing / 8
    assert numbers(folder)[0, "calibration/stated/ece"] == stated["ece"]
    assert numbers(folder)[0, "calibration/answer/brier"] == result["before", "answer"]["brier"]


def test_a_moving_self_teacher_can_read_the_measured_confidence(tmp_path: Path) -> None:
    context = {
        "kind": "privileged",
        "shows": "demonstration",
        "template": "[{privileged}]{question}",
    }
    networks = {
        "student": {"model": "builtin:confident"},
        "teacher": {"kind": "self", "weights": "ema", "context": context},
    }
    note = {"in_note": True, "in_privileged": True, "note": "{confidence}", "target": "teacher"}
    folder = carried_out(
        confident({"rollouts": {"filter": note}, "until": {"steps": 2}}, networks=networks),
        tmp_path,
    )
    assert all(norm > 0 for norm in column(folder, "grad_norm"))
    assert any(row["edited"] for row in trained_rows(folder, 2))


def certain_teacher(folder: Path) -> LanguageModel:
    """Return the built-in teacher, changed to read every confidence but 1.0 as a plus sign.

    No answer ends after a plus sign.
    """
    teacher = load(Network(model="builtin:teacher"))
    embedded: Any = teacher.model.get_input_embeddings().weight
    index: Any = teacher.tokenizer.convert_tokens_to_ids
    with torch.no_grad():
        embedded[[index(stated) for stated in CONFIDENCES[:-1]]] = embedded[index("+")].clone()
    teacher.model.save_pretrained(folder)
    teacher.tokenizer.save_pretrained(folder)
    return teacher


@torch.no_grad()
def probability_of_ending(model: LanguageModel, text: str) -> float:
    ids = torch.tensor([model.tokenizer.encode(text, add_special_tokens=False)])
    return float(model.model(ids).logits[0, -1].softmax(-1)[model.eos_ids[0]])


def test_a_teacher_that_knows_only_its_own_certainty_does_not_make_the_student_forget_how_to_end(
    tmp_path: Path,
) -> None:
    """The end token must be trained by cross-entropy.

    With the teacher's divergence after the statement, the student's probability of ending falls
    below a tenth in these steps.
    """
    problems = make(("add", "sub"), (1, 2), 12, 5)
    texts = [
        problem.question + problem.solution + stated
        for problem, stated in zip(problems, CONFIDENCES[:-1] * 2, strict=False)
    ]
    teacher = certain_teacher(tmp_path / "teacher")
    assert np.mean([probability_of_ending(teacher, text) for text in texts]) < 0.5
    networks = merged(PAIR, {"teacher": {"model": f"file:{tmp_path / 'teacher'}"}})
    stage: dict[str, Any] = {
        "objective": {"kind": "forward_kl"},
        "until": {"steps": 14},
        "problems_per_step": 6,
    }
    stage["optimiser"] = {"learning_rate": 0.002, "final_share": 1.0}
    folder = carried_out(confident(stage, networks=networks, record={"every": 0}), tmp_path / "run")
    student = load(Network(model="builtin:confident"))
    newest = max((folder / "attempts/1/checkpoints").glob("step-*"))
    student.model.load_state_dict(load_file(newest / "student.safetensors"), strict=False)
    assert np.mean([probability_of_ending(student, text) for text in texts]) > 0.99
