"""The answers of preference pairs that are written or read once, before a stage or the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from trainer.engine.loop import Runtime
from trainer.spec import RunSpec, Stage, TextTeacher
from trainer.text.recording.rollout_files import evenly_spaced, record_answers
from trainer.text.rollouts.answers import truncated_share
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Answer
from trainer.text.teachers.completion_cache import Completion
from trainer.text.teachers.stored_texts import pairs_for
from trainer.text.teachers.teacher_writer import TeacherWriter, judge_texts
from trainer.text.training.answer_store import AnswerStore
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_sampled
from trainer.text.training.row_collection import pass_rate

# A kill repeats an eighth of the student's answers at most; each part costs a checkpoint.
PARTS = 8


def write_own_answers(
    components: RunComponents,
    spec: RunSpec,
    stage: Stage,
    indices: Sequence[int],
    store: AnswerStore,
    rt: Runtime,
) -> None:
    """Have the student, as it is now, answer the next part of the problems at `indices`.

    Which problems are a part follows from `indices` alone, so that a resumed run writes the same
    batches.
    """
    generate = stage.rollouts.generate
    count = generate.per_problem
    size = max(math.ceil(len(indices) / PARTS), spec.compute.generation_rows // count, 1)
    missing = store.missing(indices)[:size]
    before = sum(index in store.by_index for index in indices) * count
    answers = components.sampler.sample_answers(
        components.student,
        [components.train[index] for index in missing],
        [tuple(range(count))] * len(missing),
        generate.sampling,
        Noise(spec.seed, rt.step, "own_answers"),
        progress=lambda done, _: rt.progress("own_answers", before + done, len(indices) * count),
    )
    count_sampled(rt, components.student, answers)
    stored = [_bare(answer) for answer in answers]
    store.add(
        {
            index: stored[first : first + count]
            for index, first in zip(missing, range(0, len(stored), count), strict=True)
        },
        {},
    )
    if not store.missing(indices):
        _report(components, spec, store, rt)


def _bare(answer: Answer) -> Answer:
    """The answer as a checkpoint gives it back."""
    return replace(answer, logprobs=None, entropies=None, sampled_logprobs=None, versions=())


def _report(components: RunComponents, spec: RunSpec, store: AnswerStore, rt: Runtime) -> None:
    answers = [answer for group in store.by_index.values() for answer in group]
    rt.metrics(
        {
            "own_answers/pass_rate": pass_rate(answers),
            "own_answers/truncated": truncated_share(answers),
        }
    )
    recorded = evenly_spaced(answers, spec.record.rollouts)
    record_answers(rt, components.student, "train", recorded, len(answers))


def read_pairs(
    components: RunComponents, stage: Stage, indices: Sequence[int], rt: Runtime
) -> tuple[dict[int, list[Answer]], dict[int, list[Answer]]]:
    """Return the chosen and the rejected answers in the teacher's file, by index.

    Raises ModelError for a text that the student's tokenizer cannot encode, and ProblemError.
    """
    teacher = components.teachers.texts
    assert isinstance(teacher, TextTeacher)
    questions = [components.train[index] for index in indices]
    pairs = pairs_for(
        teacher, [question.problem for question in questions], stage.rollouts.generate.per_problem
    )
    owners = [place for place, texts in enumerate(pairs) for _ in texts]
    sides = []
    for side in (0, 1):
        answers = judge_texts(
            [questions[place] for place in owners],
            [Completion(pair[side], False, 0) for texts in pairs for pair in texts],
            stage.rollouts.generate.sampling,
            TeacherWriter(components.student, components.sampler, rt.folder),
            [number for texts in pairs for number in range(len(texts))],
        )
        by_index: dict[int, list[Answer]] = {index: [] for index in indices}
        for place, answer in zip(owners, answers, strict=True):
            by_index[indices[place]].append(answer)
        sides.append(by_index)
    return sides[0], sides[1]
