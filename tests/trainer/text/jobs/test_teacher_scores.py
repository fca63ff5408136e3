"""Jobs that score worked solutions: what they store, however they are divided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.trainer.text.jobs.test_execution import done, job, rows
from tests.trainer.text.teachers.scoring_server import scoring
from tests.trainer.text.test_served_in_runs import served
from trainer.spec import Network, SpecError
from trainer.spec.jobs import load_job
from trainer.text.jobs.execution import execute_part
from trainer.text.language.models import load
from trainer.text.language.tokenizers import fingerprint
from trainer.text.problems import ProblemError
from trainer.text.teachers.score_files import AnswerScores

SCORES: dict[str, Any] = {
    "work": {"kind": "teacher_scores", "k": 4},
    "model": {"kind": "model", "model": "builtin:teacher"},
    "problems": {"kind": "arithmetic", "count": 12},
    "sampling": {"max_new_tokens": 128},
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return rows(done(scores_job(tmp_path_factory.mktemp("scores"))))


def scores_job(folder: Path, **changes: Any) -> Path:
    path = job(folder, **{**SCORES, **changes})
    # The base definition is of another kind of work, whose settings must not stay.
    work = changes.get("work", SCORES["work"])
    path.write_text(json.dumps({**yaml.safe_load(path.read_text()), "work": work}))
    return path


def test_scores_are_those_of_a_plain_forward_pass(lines: list[dict[str, Any]]) -> None:
    model = load(Network(model="builtin:teacher", dtype="float64"))
    for line in lines:
        (answer,) = line["answers"]
        scores = AnswerScores.from_json(answer["scores"])
        prompt = model.tokenizer(line["question"]).input_ids
        solution = model.tokenizer(answer["text"], add_special_tokens=False).input_ids
        assert scores.ids.tolist() == [*solution, model.eos_ids[0]]
        input_ids = torch.tensor([[*prompt, *scores.ids.tolist()]])
        with torch.no_grad():
            logits = model.model(input_ids).logits[0, len(prompt) - 1 : -1, : model.vocabulary]
        log_TV = logits.log_softmax(-1).numpy()
        each = np.arange(len(scores.ids))
        np.testing.assert_allclose(scores.logprobs, log_TV[each, scores.ids], atol=2e-5)
        np.testing.assert_allclose(
            scores.top_logprobs, -np.sort(-log_TV, axis=-1)[:, :4], atol=2e-5
        )
        np.testing.assert_allclose(
            np.take_along_axis(log_TV, scores.top_ids.astype(np.int64), 1),
            scores.top_logprobs,
            atol=2e-5,
        )
        mass = np.exp(scores.top_logprobs.astype(np.float64)).sum(-1)
        np.testing.assert_allclose(mass + scores.tail, 1, atol=1e-5)
        assert (scores.tail >= 0).all()
        assert answer["tokenizer"] == fingerprint(model)
        assert answer["tokens"] == len(scores.ids) and answer["verdict"] is None


def test_parts_hold_the_scores_that_one_part_holds(
    lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    spec = scores_job(tmp_path)
    in_parts = [row for part in range(3) for row in rows(done(spec, part, 3))]
    assert in_parts == lines


def test_a_long_solution_is_cut_as_in_a_run(tmp_path: Path) -> None:
    cut = rows(done(scores_job(tmp_path, sampling={"max_new_tokens": 3})))
    assert all(line["answers"][0]["tokens"] <= 3 for line in cut)
    assert any(line["answers"][0]["truncated"] for line in cut)


def test_more_tokens_than_the_vocabulary_has_are_all_stored(tmp_path: Path) -> None:
    line = rows(done(scores_job(tmp_path, work={"kind": "teacher_scores", "k": 1024})))[0]
    scores = AnswerScores.from_json(line["answers"][0]["scores"])
    assert scores.top_ids.shape[1] == load(Network(model="builtin:teacher")).vocabulary
    assert (scores.tail == 0).all()


@pytest.mark.parametrize("gives", ["top_k", "hidden_states"])
def test_a_model_on_a_server_gives_the_scores_that_it_gives_here(
    lines: list[dict[str, Any]], tmp_path: Path, gives: str
) -> None:
    with scoring() as server:
        there = rows(done(scores_job(tmp_path, model=served(server, gives))))
    for line, expected in zip(there, lines, strict=True):
        found, here = (
            AnswerScores.from_json(row["answers"][0]["scores"]) for row in (line, expected)
        )
        assert line["answers"][0]["tokenizer"] == expected["answers"][0]["tokenizer"]
        np.testing.assert_array_equal(found.ids, here.ids)
        np.testing.assert_allclose(found.logprobs, here.logprobs, atol=1e-4)
        np.testing.assert_allclose(found.top_logprobs, here.top_logprobs, atol=1e-4)
        np.testing.assert_allclose(found.tail, here.tail, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"work": {"kind": "pass_rates"}}, "scores given tokens and writes none"),
        ({"model": {"gives": {"kind": "sampled"}}}, "choose top_k or hidden_states"),
        ({"work": {"kind": "teacher_scores", "k": 9}}, "lower work.k or raise that k"),
    ],
)
def test_what_a_server_cannot_give_is_refused(changes: dict[str, Any], sentence: str) -> None:
    model = {
        "kind": "served",
        "urls": ["http://10.0.0.5:8000"],
        "model": "large",
        "tokenizer": "builtin:teacher",
        "gives": {"kind": "top_k", "k": 8},
        **changes.get("model", {}),
    }
    with pytest.raises(SpecError, match=sentence):
        load_job({**SCORES, **changes, "model": model})


def test_an_endpoint_has_no_scores() -> None:
    endpoint = {"kind": "endpoint", "url": "http://10.0.0.5/v1", "model": "large"}
    with pytest.raises(SpecError, match="gives texts only; choose a model"):
        load_job({**SCORES, "model": endpoint})


def test_problems_without_a_column_of_answers_are_refused() -> None:
    problems = {"kind": "file", "path": "file:/data/a.jsonl", "columns": {"solution": None}}
    with pytest.raises(SpecError, match=r"set problems\.columns\.solution"):
        load_job({**SCORES, "problems": problems})


def test_a_problem_without_a_solution_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(
        '{"question": "1+2", "answer": "3", "solution": "3"}\n'
        '{"question": "1+3", "answer": "4", "solution": " "}\n'
    )
    columns = {"question": "question", "answer": "answer", "solution": "solution"}
    problems = {"kind": "file", "path": f"file:{data}", "columns": columns}
    spec = load_job({**SCORES, "problems": problems})
    with pytest.raises(ProblemError, match="1 of 2 problems"):
        execute_part(spec, 0, 1, tmp_path / "out")
