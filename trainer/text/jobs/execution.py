"""Execute one part of a job: a model answers its problems and the verifier judges them.

A job of the kind teacher scores reads the problems' solutions in place of answering.

    python -m trainer shard JOB --part 2 --of 7 --out FILE

The result is a file of JSON lines (`tallies`) that follow from the definition alone: problems are
sampled block by block, and neither the noise nor the other answers of a batch depend on how the job
is split. FILE.part grows as blocks finish; FILE itself appears complete or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from trainer.engine import devices
from trainer.engine.distributed.ranks import ProcessRank
from trainer.spec import (
    Compute,
    EndpointTeacher,
    PlainContext,
    ServedTeacher,
    StatedConfidence,
)
from trainer.spec.jobs import (
    CheckpointModel,
    JobSpec,
    TeacherAnswers,
    TeacherScores,
    blocks_of_part,
)
from trainer.text.calibration.codec import Codec
from trainer.text.calibration.tokens import require_writable
from trainer.text.jobs.answer_writers import (
    AnswerLine,
    AnswerWriter,
    EndpointAnswerWriter,
    ModelAnswerWriter,
)
from trainer.text.jobs.model_loading import load_model
from trainer.text.jobs.solution_scorer import SolutionScorer
from trainer.text.language.text_models import open_tokenizer
from trainer.text.problems import Message, Problem, load_part
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.teachers.completion_cache import CompletionCache
from trainer.text.teachers.endpoint import Endpoint
from trainer.text.teachers.scoring_teacher import ScoringTeacher
from trainer.text.teachers.served.served_view import RunHandle, open_served
from trainer.text.teachers.snapshots import UnchangedWeights
from trainer.text.teachers.teacher_view import TeacherView
from trainer.text.verifiers import Verifier

# The model's name in messages.
MODEL = "model"


def execute_part(spec: JobSpec, part: int, parts: int, out: Path) -> int:
    """Write part number `part` (from 0) of `parts` to `out`; return its number of problems.

    Raises ProblemError, ModelError, VerifierError and Failure (RunRefused where the definition
    cannot be used).
    """
    items = load_part(spec.problems, spec.held_out_share).items
    unfinished = out.with_name(f"{out.name}.part")
    done = 0
    with ExitStack() as stack, unfinished.open("w", encoding="utf-8") as file:
        for block, answers in _answer_blocks(
            spec, items, blocks_of_part(len(items), spec.compute.block, part, parts), out, stack
        ):
            for index, problem_answers in zip(block, answers, strict=True):
                file.write(
                    json.dumps(
                        _result_row(spec, index, items[index], problem_answers), ensure_ascii=False
                    )
                    + "\n"
                )
            # The worker's runner counts the lines of FILE.part while the part is being executed.
            file.flush()
            done += len(block)
        # FILE must be complete on disk before it gets its final name.
        os.fsync(file.fileno())
    unfinished.rename(out)
    return done


def _answer_blocks(
    spec: JobSpec, items: Sequence[Problem], blocks: Sequence[range], out: Path, stack: ExitStack
) -> Iterator[tuple[range, list[list[AnswerLine]]]]:
    """Yield each block with the answers to its problems; a part without problems loads no model."""
    if not blocks:
        return
    writer = _answer_writer(spec, out, stack)
    for block in blocks:
        yield block, writer.answers(items[block.start : block.stop])


def _answer_writer(spec: JobSpec, out: Path, stack: ExitStack) -> AnswerWriter:
    verifier = stack.enter_context(Verifier(spec.verifier, spec.verifier_seconds))
    codec = Codec(spec.confidence) if isinstance(spec.confidence, StatedConfidence) else None
    if isinstance(spec.model, EndpointTeacher):
        endpoint = Endpoint(spec.model, CompletionCache(out.parent / "answers_kept"))
        return EndpointAnswerWriter(
            endpoint, spec.model, spec.prompt, spec.sampling, verifier, codec
        )
    device = devices.prepare(
        Compute(device=spec.compute.device, threads=spec.compute.threads), ProcessRank()
    )
    if isinstance(spec.model, ServedTeacher):
        return _solution_scorer(spec, codec, _served(spec, spec.model, device))
    model = load_model(spec.model, spec.seed, device)
    if codec:
        require_writable(codec, model, spec.sampling.max_new_tokens)
    context = PlainContext() if isinstance(spec.model, CheckpointModel) else spec.model.context
    if isinstance(spec.work, TeacherScores):
        view = TeacherView(MODEL, model, context, UnchangedWeights(), spec.sampling.max_new_tokens)
        return _solution_scorer(spec, codec, view)
    sampler = SamplerAndJudge(verifier, spec.prompt, lambda: spec.compute.generation_rows, codec)
    return ModelAnswerWriter(
        model, sampler, context, spec.sampling, Noise(spec.seed, 0, spec.work.kind), spec.samples
    )


def _served(spec: JobSpec, model: ServedTeacher, device: torch.device) -> ScoringTeacher:
    """Return the model on its servers, which have passed their check."""
    tokenizer = open_tokenizer(model.tokenizer_network)
    longest = spec.sampling.max_new_tokens
    return open_served(MODEL, "model", model, tokenizer, longest, device, RunHandle())


def _solution_scorer(spec: JobSpec, codec: Codec | None, teacher: ScoringTeacher) -> SolutionScorer:
    assert isinstance(spec.work, TeacherScores)
    return SolutionScorer(teacher, spec.prompt, codec, spec.work.k)


def _result_row(
    spec: JobSpec, index: int, problem: Problem, answers: list[AnswerLine]
) -> dict[str, Any]:
    if isinstance(spec.work, TeacherAnswers):
        answers = [next((answer for answer in answers if answer["verdict"]), answers[0])]
    elif not isinstance(spec.work, TeacherScores) and not spec.work.keep_texts:
        answers = [
            {name: value for name, value in answer.items() if name != "text"} for answer in answers
        ]
    return {
        # The key is part of the format of results; see `tallies`.
        "place": index,
        "id": problem.id,
        "question": problem.question,
        "reference": problem.answer,
        "domain": problem.domain,
        "difficulty": problem.difficulty,
        "answers": answers,
        # Most problems have none.
        **({"history": list(map(Message._asdict, problem.history))} if problem.history else {}),
    }
