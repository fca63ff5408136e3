"""Answers that the teacher wrote, once for each problem that is trained on, and kept for the whole run.

They follow from (seed, problem) alone. A checkpoint holds them, so that a resumed run does not write them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.text.answers import Answer, Question


class TeacherAnswers:
    """Answer by place of the problem in the pool."""

    def __init__(self) -> None:
        self.by_place: dict[int, Answer] = {}

    def missing(self, places: Sequence[int]) -> list[int]:
        return [place for place in places if place not in self.by_place]

    def add(self, places: Sequence[int], answers: Sequence[Answer]) -> None:
        self.by_place.update(zip(places, answers, strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """Token ids one after the other, with the length and place of each answer; empty where there is none."""
        if not self.by_place:
            return {}
        ids = [token for answer in self.by_place.values() for token in answer.ids]
        lengths = [len(answer.ids) for answer in self.by_place.values()]
        columns = {"ids": ids, "lengths": lengths, "places": list(self.by_place)}
        return {name: torch.tensor(column, dtype=torch.int32) for name, column in columns.items()}

    def verdicts(self) -> list[dict[str, Any]]:
        """What the tensors cannot hold of each answer, in their order."""
        return [
            {"truncated": answer.truncated, "text": answer.text, "verdict": answer.verdict, "read": answer.read}
            for answer in self.by_place.values()
        ]

    def load(self, tensors: Mapping[str, Tensor], verdicts: Sequence[dict[str, Any]], asked: Sequence[Question]) -> None:
        self.by_place = {}
        if not tensors:
            return
        pieces = torch.split(tensors["ids"], tensors["lengths"].tolist())
        for place, ids, facts in zip(tensors["places"].tolist(), pieces, verdicts, strict=True):
            question = asked[place]
            self.by_place[place] = Answer(question.problem, 0, "teacher", question.prompt, tuple(ids.tolist()), **facts)
