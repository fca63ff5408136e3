"""What the definition of a job refuses that the definition of a run allows."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.spec.errors import SpecError
from trainer.spec.jobs import load_job


def job_that_shows(text: str, kind: str) -> dict[str, Any]:
    named = {
        "model": {"model": "builtin:student"},
        "endpoint": {"url": "http://a/v1", "model": "b"},
    }
    context = {"kind": "privileged", "shows": text}
    return {
        "work": {"kind": "teacher_answers"},
        "model": {"kind": kind, **named[kind], "context": context},
    }


@pytest.mark.parametrize("kind", ["model", "endpoint"])
def test_a_job_shows_only_texts_of_the_data(kind: str) -> None:
    assert load_job(job_that_shows("answer", kind)).model.kind == kind
    for text in ("demonstration", "feedback"):
        with pytest.raises(SpecError) as refusal:
            load_job(job_that_shows(text, kind))
        (issue,) = refusal.value.issues
        assert issue.path == "model.context.shows"
        assert "solution" in issue.message and "answer" in issue.message
