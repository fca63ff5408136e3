"""The file of a job's teacher scores, from the lines that the trainer writes.

`write` runs in a child process (`bounded_process`): no Django here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from trainer.text.problems import ProblemError
from trainer.text.teachers import score_files
from trainer.text.teachers.score_files import AnswerScores, ScoreSource

PROBLEM_COLUMNS = ("id", "question", "domain", "difficulty")


def write(results: Sequence[Path], table: Path, model: str, context: Any, prompt: str) -> None:
    """Write the scored answers of all result files as one file of scores.

    `context` is that of the model and `prompt` its template, as the definition of the job has
    them. Raises ProblemError if parts were scored with different tokenizers.
    """
    rows = _lines(results)
    first = next(rows, None)
    if first is None:
        raise ProblemError("the job has scored no answer")
    answer = first["answers"][0]
    k = AnswerScores.from_json(answer["scores"]).top_ids.shape[1]
    source = ScoreSource(answer["tokenizer"], model, k, context, prompt)
    score_files.write(table, _rows(chain([first], rows), source), source)


def _lines(results: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in results:
        with path.open("rb") as lines:
            yield from map(json.loads, lines)


def _rows(lines: Iterator[dict[str, Any]], source: ScoreSource) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        answer = line["answers"][0]
        # Machines may have opened different files of a model of the hub without a revision.
        if answer["tokenizer"] != source.tokenizer:
            raise ProblemError(
                "the parts of the job were scored with different tokenizers; name the revision of "
                "the model and start the job again"
            )
        yield {
            **{name: line[name] for name in PROBLEM_COLUMNS},
            "answer": line["reference"],
            "solution": answer["text"],
            "history": json.dumps(line["history"], ensure_ascii=False) if "history" in line else "",
            "truncated": answer["truncated"],
            "scores": AnswerScores.from_json(answer["scores"]),
        }
