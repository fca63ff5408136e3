"""Answers to problems that are written once and then stored in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.text.rollouts.questions import Answer, Question
from trainer.text.rollouts.records import Source


class AnswerStore:
    """Answers of one author by the index of their problem in the pool, one or several to each.

    `set_aside` has the reason for each problem without any answer.
    """

    def __init__(self, source: Source = "teacher") -> None:
        self.source: Source = source
        self.by_index: dict[int, tuple[Answer, ...]] = {}
        self.set_aside: dict[int, str] = {}

    def missing(self, indices: Sequence[int]) -> list[int]:
        return [
            index for index in indices if index not in self.by_index and index not in self.set_aside
        ]

    def add(self, answers: Mapping[int, Sequence[Answer]], set_aside: Mapping[int, str]) -> None:
        self.by_index.update({index: tuple(group) for index, group in answers.items()})
        self.set_aside.update(set_aside)

    def answered(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of the problems that were not set aside, in their order."""
        return indices[~np.isin(indices, list(self.set_aside))] if self.set_aside else indices

    def tensors(self) -> dict[str, Tensor]:
        """Token ids of all answers concatenated, with lengths and indices; {} without answers."""
        answers = self._answers()
        if not answers:
            return {}
        # The keys are part of the checkpoint format.
        columns = {
            "ids": [token for _, answer in answers for token in answer.ids],
            "lengths": [len(answer.ids) for _, answer in answers],
            "places": [index for index, _ in answers],
        }
        return {name: torch.tensor(column, dtype=torch.int32) for name, column in columns.items()}

    def verdicts(self) -> list[dict[str, Any]]:
        """What tensors cannot hold of each answer, in the same order."""
        return [
            {
                "truncated": answer.truncated,
                "text": answer.text,
                "verdict": answer.verdict,
                "read": answer.read,
            }
            for _, answer in self._answers()
        ]

    def reasons(self) -> dict[str, str]:
        """Why problems were set aside, with their indices as JSON has them."""
        return {str(index): reason for index, reason in self.set_aside.items()}

    def load(
        self,
        tensors: Mapping[str, Tensor],
        verdicts: Sequence[dict[str, Any]],
        reasons: Mapping[str, str],
        questions: Sequence[Question],
    ) -> None:
        answers: dict[int, list[Answer]] = {}
        self.set_aside = {int(index): reason for index, reason in reasons.items()}
        columns = (
            zip(
                tensors["places"].tolist(),
                torch.split(tensors["ids"], tensors["lengths"].tolist()),
                verdicts,
                strict=True,
            )
            if tensors
            else ()
        )
        for index, ids, verdict in columns:
            question, group = questions[index], answers.setdefault(index, [])
            group.append(
                Answer(
                    question.problem,
                    len(group),
                    self.source,
                    question.prompt,
                    tuple(ids.tolist()),
                    **verdict,
                )
            )
        self.by_index = {index: tuple(group) for index, group in answers.items()}

    def _answers(self) -> list[tuple[int, Answer]]:
        return [(index, answer) for index, group in self.by_index.items() for answer in group]
