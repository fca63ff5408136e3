"""The state of a rollout pipeline as a checkpoint holds it: JSON values and two tensors.

    ids      int32 [Σ tokens]    token ids of prompts and answers, one after the other
    numbers  float32 [Σ numbers] log-probs and entropies, one after the other

The values describe groups, answers and paused trajectories in the order of their numbers in the
tensors. Problems are named by id. A state belongs to the weights, problems and tokenizer that it
was made with; `fingerprint` says which these are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.engine.outcome import RunRefused
from trainer.spec.networks import Student
from trainer.text.language.models import LanguageModel
from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.pipeline import PipelineState
from trainer.text.rollouts.protocols import StoredState
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.rollouts.records import Group, PausedGroup, Prompt, Segment, Trajectory

Numbers = NDArray[np.float32]
Fields = dict[str, Any]


def fingerprint(student: LanguageModel, settings: Student, seed: int, problems: str) -> Fields:
    """What stored rollouts belong to; `problems` is the fingerprint of the training problems.

    The weights are known by the model's files and how the student was made of them: a checkpoint
    has the trained weights beside the rollouts.
    """
    made = {
        "model": student.hash,
        "adapter": settings.adapter.model_dump(mode="json"),
        "random_init": settings.random_init,
        "seed": seed,
    }
    return {
        "weights": _hash(made),
        "problems": problems,
        "tokenizer": _hash(sorted(student.tokenizer.get_vocab().items())),
    }


def require_same(stored: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Raise RunRefused if stored rollouts belong to other weights, problems or tokens."""
    sentences = {
        "weights": "they were sampled from a student of another origin (model, adapter or seed)",
        "problems": "they answer other training problems than those of the run",
        "tokenizer": "their tokens are those of another tokenizer",
    }
    different = [text for name, text in sentences.items() if stored.get(name) != present[name]]
    if different:
        raise RunRefused(
            f"The rollouts that the checkpoint stores cannot be used: {', and '.join(different)}.",
            "Resume with the definition, the data and the model that the run was started with, or "
            "start a new run.",
        )


def encode(state: PipelineState) -> tuple[Fields, dict[str, Tensor]]:
    """Return the values and the tensors of a state.

    Raises CodeError if a plug-in's state has values that JSON does not hold.
    """
    writer = _Writer()
    values = {
        "plug_ins": {
            role: {
                "values": _json_values(role, plug_in.values),
                "groups": [_group_values(group, writer) for group in plug_in.groups],
            }
            for role, plug_in in state.plug_ins.items()
        },
        "in_flight": [
            {
                **_prompt_values(group.prompt),
                "trajectories": [
                    _trajectory_values(trajectory, writer) for trajectory in group.trajectories
                ],
            }
            for group in state.in_flight
        ],
        "stored_tokens": state.stored_tokens,
    }
    return values, writer.tensors()


def decode(
    values: Mapping[str, Any], tensors: Mapping[str, Tensor], questions: Mapping[str, Question]
) -> PipelineState:
    """Return the state that `encode` was given; `questions` are those of training, by id."""
    reader = _Reader(tensors["ids"].numpy(), tensors["numbers"].numpy())
    return PipelineState(
        {
            role: StoredState(
                plug_in["values"],
                tuple(_group(group, questions, reader) for group in plug_in["groups"]),
            )
            for role, plug_in in values["plug_ins"].items()
        },
        tuple(
            PausedGroup(
                _prompt(group, questions),
                tuple(_trajectory(trajectory, reader) for trajectory in group["trajectories"]),
            )
            for group in values["in_flight"]
        ),
        values["stored_tokens"],
    )


def is_empty(state: PipelineState) -> bool:
    """Whether a pipeline in this state is as it was when its stage began."""
    return not state.in_flight and not any(
        plug_in.values or plug_in.groups for plug_in in state.plug_ins.values()
    )


def _json_values(role: str, values: Mapping[str, Any]) -> Fields:
    try:
        read_again: Fields = json.loads(json.dumps(dict(values)))
    except (TypeError, ValueError) as error:
        raise CodeError(
            f"The state of rollouts.{role} cannot be stored: {error}. Keep numbers, texts, lists "
            "and mappings in it, and judged groups in `groups`."
        ) from error
    return read_again


# One function writes a record and one reads it, in the same order.


def _group_values(group: Group, writer: _Writer) -> Fields:
    return {
        **_prompt_values(group.prompt),
        "answers": [_answer_values(answer, writer) for answer in group.answers],
    }


def _group(values: Fields, questions: Mapping[str, Question], reader: _Reader) -> Group:
    prompt = _prompt(values, questions)
    return Group(
        prompt,
        tuple(_answer(answer, prompt.question, reader) for answer in values["answers"]),
    )


def _prompt_values(prompt: Prompt) -> Fields:
    return {"problem": prompt.question.problem.id, "weight": float(prompt.weight)}


def _prompt(values: Fields, questions: Mapping[str, Question]) -> Prompt:
    return Prompt(questions[values["problem"]], values["weight"])


def _answer_values(answer: Answer, writer: _Writer) -> Fields:
    return {
        "sample": answer.sample,
        "source": answer.source,
        "prompt": writer.ids(answer.prompt),
        "ids": writer.ids(answer.ids),
        "truncated": bool(answer.truncated),
        "text": answer.text,
        "verdict": None if answer.verdict is None else bool(answer.verdict),
        "read": answer.read,
        "logprobs": writer.numbers(answer.logprobs),
        "entropies": writer.numbers(answer.entropies),
        "sampled_logprobs": writer.numbers(answer.sampled_logprobs),
        "versions": answer.versions,
        "inherited": answer.inherited,
    }


def _answer(values: Fields, question: Question, reader: _Reader) -> Answer:
    return Answer(
        problem=question.problem,
        sample=values["sample"],
        source=values["source"],
        prompt=reader.ids(values["prompt"]),
        ids=reader.ids(values["ids"]),
        truncated=values["truncated"],
        text=values["text"],
        verdict=values["verdict"],
        read=values["read"],
        logprobs=reader.numbers(values["logprobs"]),
        entropies=reader.numbers(values["entropies"]),
        sampled_logprobs=reader.numbers(values["sampled_logprobs"]),
        versions=tuple(values["versions"]),
        inherited=values["inherited"],
    )


def _trajectory_values(trajectory: Trajectory, writer: _Writer) -> Fields:
    return {
        "problem": trajectory.problem,
        "sample": trajectory.sample,
        "prompt": writer.ids(trajectory.prompt),
        "segments": [_segment_values(segment, writer) for segment in trajectory.segments],
        "truncated": bool(trajectory.truncated),
        "parent": trajectory.parent,
        "inherited": trajectory.inherited,
    }


def _trajectory(values: Fields, reader: _Reader) -> Trajectory:
    return Trajectory(
        problem=values["problem"],
        sample=values["sample"],
        prompt=reader.ids(values["prompt"]),
        segments=tuple(_segment(segment, reader) for segment in values["segments"]),
        truncated=values["truncated"],
        parent=values["parent"],
        inherited=values["inherited"],
    )


def _segment_values(segment: Segment, writer: _Writer) -> Fields:
    return {
        "ids": writer.ids(segment.ids),
        "logprobs": writer.numbers(segment.logprobs),
        "sampled_logprobs": writer.numbers(segment.sampled_logprobs),
        "entropies": writer.numbers(segment.entropies),
        "source": segment.source,
        "version": segment.version,
    }


def _segment(values: Fields, reader: _Reader) -> Segment:
    ids = reader.ids(values["ids"])
    columns = {
        name: reader.numbers(values[name]) for name in ("logprobs", "sampled_logprobs", "entropies")
    }
    return Segment(ids, **columns, source=values["source"], version=values["version"])


@dataclass
class _Writer:
    """Collects token ids and numbers; the values keep only how many each record has."""

    _ids: list[int] = field(default_factory=list)
    _numbers: list[Numbers] = field(default_factory=list)

    def ids(self, ids: Sequence[int]) -> int:
        self._ids += ids
        return len(ids)

    def numbers(self, numbers: Numbers | None) -> int | None:
        if numbers is None:
            return None
        self._numbers.append(np.asarray(numbers, np.float32))
        return len(numbers)

    def tensors(self) -> dict[str, Tensor]:
        numbers = np.concatenate([np.zeros(0, np.float32), *self._numbers])
        return {
            "ids": torch.tensor(self._ids, dtype=torch.int32),
            "numbers": torch.from_numpy(numbers),
        }


@dataclass
class _Reader:
    """Returns token ids and numbers in the order in which they were written."""

    _ids: NDArray[np.int32]
    _numbers: Numbers
    _next_id: int = 0
    _next_number: int = 0

    def ids(self, count: int) -> tuple[int, ...]:
        begin, self._next_id = self._next_id, self._next_id + count
        return tuple(self._ids[begin : self._next_id].tolist())

    def numbers(self, count: int | None) -> Any:
        if count is None:
            return None
        begin, self._next_number = self._next_number, self._next_number + count
        return self._numbers[begin : self._next_number].copy()


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
