"""Files of a teacher's scores: a Parquet table with one row for each answer, torch-free.

A row has the problem, the answer as text and token ids, and at each token the teacher's log-prob of
it, the K likeliest ids with their log-probs, and the tail: the probability of all other ids. Scores
are at temperature 1 and in nats. The file's metadata say what the scores are of (`ScoreSource`).

Shapes: T tokens of an answer, K ids at each.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainer.text.problems import Problem, ProblemError

KEY = b"stillroom.teacher_scores"
# A run reads a group for each answer that it looks up: with 300 tokens and 64 ids about 5 MB.
GROUP_ROWS, GROUPS_IN_MEMORY = 32, 16
TEXT, INT, FLOAT = pa.string(), pa.int32(), pa.float32()
# The columns that a run needs to find an answer.
PROBLEM_COLUMNS = ("question", "history", "ids")


@dataclass(frozen=True)
class ScoreSource:
    """What the scores of a file are of.

    `tokenizer` is the fingerprint of the teacher's (`tokenizers.fingerprint`), `k` the number of
    ids at a token, `context` the teacher's context and `prompt` the template of its questions.
    """

    tokenizer: str
    model: str
    k: int
    context: Mapping[str, Any]
    prompt: str
    version: int = 1


@dataclass(frozen=True)
class AnswerScores:
    """Scores of one answer: `ids`, `logprobs` and `tail` [T], `top_ids` and `top_logprobs` [T, K].

    `top_logprobs` fall along K; `tail` is a probability.
    """

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float32]
    tail: NDArray[np.float32]

    def first(self, count: int) -> AnswerScores:
        """Return the scores of the first `count` tokens."""
        return AnswerScores(*(getattr(self, field.name)[:count] for field in fields(self)))

    def to_json(self) -> dict[str, str]:
        """The arrays as base64 of their little-endian bytes."""
        return {
            field.name: base64.b64encode(getattr(self, field.name).tobytes()).decode()
            for field in fields(self)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> AnswerScores:
        arrays = {name: base64.b64decode(text) for name, text in data.items()}
        ids = np.frombuffer(arrays["ids"], np.int32)
        return cls(
            ids,
            np.frombuffer(arrays["logprobs"], np.float32),
            np.frombuffer(arrays["top_ids"], np.int32).reshape(len(ids), -1),
            np.frombuffer(arrays["top_logprobs"], np.float32).reshape(len(ids), -1),
            np.frombuffer(arrays["tail"], np.float32),
        )


def schema(source: ScoreSource) -> pa.Schema:
    top = {name: pa.list_(pa.list_(type)) for name, type in (("ids", INT), ("logprobs", FLOAT))}
    columns = {
        **dict.fromkeys(("id", "question", "answer", "solution"), TEXT),
        **dict.fromkeys(("domain", "difficulty", "history"), TEXT),
        "truncated": pa.bool_(),
        "ids": pa.list_(INT),
        "logprobs": pa.list_(FLOAT),
        "top_ids": top["ids"],
        "top_logprobs": top["logprobs"],
        "tail": pa.list_(FLOAT),
    }
    return pa.schema(list(columns.items()), metadata={KEY: json.dumps(asdict(source))})


def write(path: Path, rows: Iterable[Mapping[str, Any]], source: ScoreSource) -> None:
    """Write rows with the columns of `schema`; `scores` in a row stands for those of its tokens."""
    iterator = iter(rows)
    with pq.ParquetWriter(path, schema(source)) as writer:
        while group := [_plain(row) for row in islice(iterator, GROUP_ROWS)]:
            writer.write_table(pa.Table.from_pylist(group, schema(source)))


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    scores: AnswerScores = row["scores"]
    arrays = {field.name: getattr(scores, field.name).tolist() for field in fields(scores)}
    return {**{name: value for name, value in row.items() if name != "scores"}, **arrays}


class ScoreFile:
    """A file of scores, read a few answers at a time. Raises ProblemError if it is none."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        try:
            self._file = pq.ParquetFile(path)
            metadata = json.loads((self._file.schema_arrow.metadata or {})[KEY])
            self.source = ScoreSource(**metadata)
            self._require_schema()
            self.answers = self._index()
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise ProblemError(
                f"{name} is no file of teacher scores; choose one that a job of the kind teacher "
                "scores has written"
            ) from error
        # Made per file: a cache on the method itself would keep every file in memory.
        self._group = lru_cache(GROUPS_IN_MEMORY)(self._read_group)

    def scores(self, place: tuple[int, int]) -> AnswerScores:
        """Return the scores of the answer at a place of `answers`.

        Raises ProblemError if they are not those of its tokens, as after a change of the file.
        """
        group, index = place
        row = {name: column[index] for name, column in self._group(group).items()}
        count = len(row["ids"])
        try:
            scores = AnswerScores(
                np.array(row["ids"].as_py(), np.int32),
                np.array(row["logprobs"].as_py(), np.float32).reshape(count),
                np.array(row["top_ids"].as_py(), np.int32).reshape(count, -1),
                np.array(row["top_logprobs"].as_py(), np.float32).reshape(count, -1),
                np.array(row["tail"].as_py(), np.float32).reshape(count),
            )
        except (TypeError, ValueError) as error:
            raise self._damaged(place) from error
        # A token may be impossible, whose log-prob is −∞.
        if any(np.isnan(a).any() for a in (scores.logprobs, scores.top_logprobs, scores.tail)):
            raise self._damaged(place)
        return scores

    def _damaged(self, place: tuple[int, int]) -> ProblemError:
        group, index = place
        before = sum(self._file.metadata.row_group(other).num_rows for other in range(group))
        return ProblemError(
            f"{self.name} has no complete scores of each token in row {before + index + 1:,}; "
            "score the answers again by a job of the kind teacher scores"
        )

    def _require_schema(self) -> None:
        """Raise ValueError if columns are missing, or if k or the tokenizer is not valid."""
        source, columns = self.source, self._file.schema_arrow.names
        if missing := {field.name for field in fields(AnswerScores)} - set(columns):
            raise ValueError(f"columns are missing: {missing}")
        if not isinstance(source.k, int) or source.k < 1 or not isinstance(source.tokenizer, str):
            raise ValueError("k or the tokenizer is not valid")

    def _index(self) -> dict[str, list[tuple[tuple[int, ...], tuple[int, int]]]]:
        """Token ids and places of the answers to each question, by its `question_key`."""
        answers: dict[str, list[tuple[tuple[int, ...], tuple[int, int]]]] = {}
        for place, row in self._problem_rows():
            key = _key(row["history"], row["question"])
            answers.setdefault(key, []).append((tuple(row["ids"]), place))
        return answers

    def _problem_rows(self) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        for group in range(self._file.num_row_groups):
            table = self._file.read_row_group(group, columns=list(PROBLEM_COLUMNS))
            for index, row in enumerate(table.to_pylist()):
                yield (group, index), row

    def _read_group(self, group: int) -> dict[str, Any]:
        names = [field.name for field in fields(AnswerScores)]
        table = self._file.read_row_group(group, columns=names)
        return {name: table.column(name) for name in names}


def question_key(problem: Problem) -> str:
    """The question with the turns before it, without differences of white space."""
    return _normalised(problem.asked)


def _key(history: str, question: str) -> str:
    turns = json.loads(history) if history else []
    texts = [turn["text"] for turn in turns if turn["role"] != "system"]
    return _normalised("\n".join([*texts, question]))


def _normalised(text: str) -> str:
    return " ".join(text.split())
