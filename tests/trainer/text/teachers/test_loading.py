"""Which teachers a run gets, and which it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.text.teachers.classroom import (
    PROSE,
    SHOWN,
    definition,
    opened,
    prose_folder,
    question,
    student,
)
from trainer.text.language.models import ModelError
from trainer.text.problems import ProblemError

WRITTEN = [{"source": "teacher_written", "objective": {"kind": "cross_entropy"}}]


def another(seed: int = 1, **changes: object) -> dict[str, object]:
    return {"kind": "model", "model": f"file:{prose_folder(seed=seed)}", **changes}


def test_the_same_tokenizer_with_another_padded_width_is_accepted() -> None:
    folder = prose_folder(seed=1, vocab_size=160)
    teachers = opened(definition({"kind": "model", "model": f"file:{folder}"}))
    assert teachers.gives_probabilities and teachers.vocabulary == 3 + len(PROSE)


def test_another_tokenizer_is_refused_for_token_level_objectives_with_the_alternatives() -> None:
    folder = prose_folder(characters=PROSE[::-1])
    with pytest.raises(
        ModelError,
        match=r"different tokenizers: id 3 is .*teacher_written and the objective cross_entropy",
    ):
        opened(definition({"kind": "model", "model": f"file:{folder}"}))


def test_another_tokenizer_is_accepted_where_texts_alone_are_learnt_from() -> None:
    folder = prose_folder(characters=PROSE[::-1])
    teachers = opened(definition({"kind": "model", "model": f"file:{folder}"}, WRITTEN))
    assert not teachers.gives_probabilities and teachers.views[0].name == "teacher"


def test_a_teacher_that_no_stage_learns_from_is_not_opened(tmp_path: Path) -> None:
    generate = {"per_problem": 4, "sampling": {"max_new_tokens": 16}}
    stage = {"objective": {"kind": "grpo"}, "rollouts": {"generate": generate}}
    teachers = opened(
        definition({"kind": "model", "model": f"file:{tmp_path / 'missing'}"}, [stage])
    )
    assert teachers.views == () and not teachers.gives_probabilities and teachers.tensors() == {}


def test_each_domain_has_its_teacher() -> None:
    specialists = [
        {"domains": ["algebra", "number theory"], "teacher": another(2)},
        {"domains": ["geometry"], "teacher": another(3)},
    ]
    teachers = opened(definition(another(), specialists=specialists))
    names = [
        teachers.of(question(domain=domain).problem).name
        for domain in ("algebra", "number theory", "geometry", "logic", "")
    ]
    assert names == ["specialist algebra+number theory"] * 2 + [
        "specialist geometry",
        "teacher",
        "teacher",
    ]
    assert [view.name for view in teachers.views] == [
        "teacher",
        "specialist algebra+number theory",
        "specialist geometry",
    ]
    heads = [view.head.weight for view in teachers.loaded]
    assert not any(torch.equal(heads[0], head) for head in heads[1:])


def test_a_specialist_for_a_domain_that_no_problem_has_is_refused() -> None:
    teachers = opened(
        definition(another(), specialists=[{"domains": ["algbra"], "teacher": another(2)}])
    )
    with pytest.raises(ProblemError, match="no training problem has the domain “algbra”"):
        teachers.check([question(domain="algebra")])


def test_a_question_that_is_too_long_is_refused_before_the_run() -> None:
    teachers = opened(definition(another(context=SHOWN)))
    assert teachers.check([question("q" * 80, solution="s")]) == []
    with pytest.raises(ModelError, match="do not fit"):
        teachers.check([question("q" * 120)])


def test_missing_solutions_are_refused_before_the_run() -> None:
    teachers = opened(definition({"kind": "self", "context": SHOWN}), student())
    with pytest.raises(ProblemError, match="1 of 2 training problems"):
        teachers.check([question(), question("2+2=", solution=" ")])


def test_privileged_texts_that_will_be_shortened_are_reported() -> None:
    teachers = opened(definition(another(context={**SHOWN, "most_tokens": 10})))
    (note,) = teachers.check(
        [
            question(solution="s" * 10),
            question("2", solution="s" * 11),
            question("q" * 104, solution="ss"),
        ]
    )
    assert "What the teacher is shown is too long for 2 of 3 training problems" in note
