"""Build the engine, pipeline and filter of a stage from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from trainer.engine.distributed.world import World
from trainer.spec import RunSpec, Stage
from trainer.spec.confidence import StatedConfidence
from trainer.spec.objectives import GRPO, CrossEntropy, PolicyGradient
from trainer.spec.operation import VllmSampler
from trainer.spec.rollouts import CalibratedFilter
from trainer.text.calibration.codec import Codec
from trainer.text.calibration.tokens import with_confidence
from trainer.text.language.model_folders import ModelError
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.answers import Question, SamplerAndJudge
from trainer.text.rollouts.confidence_filter import ConfidenceFilter
from trainer.text.rollouts.control import FixedController
from trainer.text.rollouts.engines.overlap import CopiedWeightsEngine, OverlapEngine
from trainer.text.rollouts.engines.sampling import InProcessEngine
from trainer.text.rollouts.engines.vllm.engine import VllmEngine
from trainer.text.rollouts.engines.vllm.server import Launch
from trainer.text.rollouts.filter import VerdictFilter
from trainer.text.rollouts.generate import PlainGenerator
from trainer.text.rollouts.importance_weights import ImportanceWeightedFilter
from trainer.text.rollouts.pipeline import RolloutPipeline
from trainer.text.rollouts.protocols import Engine, Filter
from trainer.text.rollouts.records import CROSS_ENTROPY, DIVERGENCE, RATIO
from trainer.text.rollouts.replay import EmptyReplay
from trainer.text.rollouts.teacher_prompts import TeacherPrompts
from trainer.text.teachers import Teachers


def build_engine(
    spec: RunSpec,
    student: LanguageModel,
    questions: Sequence[Question],
    folder: Path,
    stack: ExitStack,
    log_warning: Callable[[str], None],
    world: World,
) -> Engine:
    """Build the engine that samples the student's answers.

    A vLLM server keeps its files in `folder`, reports its restarts to `log_warning` and stops with
    `stack`. `world` are the processes that share the sampling where the trainer itself samples.
    """
    sampler, rows = spec.compute.sampler, spec.compute.generation_rows
    engine: Engine
    if isinstance(sampler, VllmSampler):
        # float32 on the server unless the student trains in bfloat16: the weight check then
        # detects one stale matrix, which bfloat16's rounding would hide.
        dtype = "bfloat16" if spec.networks.student.dtype == "bfloat16" else "float32"
        answer_lengths = [
            stage.rollouts.generate.sampling.max_new_tokens
            for stage in spec.stages
            if stage.source == "student_rollouts"
        ]
        longest_prompt = max(len(question.prompt) for question in questions)
        engine = VllmEngine(
            student,
            Launch(
                sampler,
                dtype,
                longest_prompt + max(answer_lengths, default=1),
                eager=student.device.type == "cpu",
            ),
            rows,
            folder,
            log_warning,
        )
        stack.callback(engine.close)
    elif spec.compute.overlap:
        engine = CopiedWeightsEngine(student, rows)
    else:
        engine = InProcessEngine(student, rows, world=world)
    if not spec.compute.overlap:
        return engine
    ahead = OverlapEngine(engine)
    # The stack closes in reverse order: sampling ahead ends before its server stops.
    stack.callback(ahead.close)
    return ahead


def build_pipeline(
    spec: RunSpec,
    stage: Stage,
    engine: Engine,
    sampler: SamplerAndJudge,
    student: LanguageModel,
    teachers: Teachers,
    held_out: Iterable[str] = (),
) -> RolloutPipeline:
    """Build the rollout pipeline of a stage.

    `held_out` are ids of problems that must never be trained on. Raises ModelError.
    """
    generate, sampling = stage.rollouts.generate, stage.rollouts.generate.sampling
    answer_filter = build_filter(spec, stage, sampler, student, teachers)
    # Overlapped answers come from older weights, so they need importance weights like a server's.
    separate_sampler = isinstance(spec.compute.sampler, VllmSampler) or spec.compute.overlap
    if separate_sampler and sampling.temperature:
        answer_filter = ImportanceWeightedFilter(
            answer_filter, student, sampling.temperature, spec.compute.micro_batch_tokens
        )
    return RolloutPipeline(
        engine,
        PlainGenerator(generate.per_problem, sampling),
        answer_filter,
        FixedController(),
        EmptyReplay(),
        frozenset(held_out),
    )


def build_filter(
    spec: RunSpec,
    stage: Stage,
    sampler: SamplerAndJudge,
    student: LanguageModel,
    teachers: Teachers,
) -> Filter:
    """Build the filter that makes rows of a stage's answers, sampled or given.

    Raises ModelError if a stated confidence does not fit the longest answer.
    """
    objective, settings = stage.objective, stage.rollouts.filter
    # What tokens are trained by, unless the filter says otherwise.
    if isinstance(objective, GRPO | PolicyGradient):
        kind = RATIO
    else:
        kind = CROSS_ENTROPY if isinstance(objective, CrossEntropy) else DIVERGENCE
    teacher_context = (
        # These objectives compare with no teacher, so no row gets a teacher's prompt.
        None if isinstance(objective, GRPO | CrossEntropy) else TeacherPrompts(teachers)
    )
    standardise = objective.standardise if isinstance(objective, GRPO) else None
    if not isinstance(settings, CalibratedFilter):
        return VerdictFilter(sampler, student, kind, teacher_context, standardise)
    assert isinstance(spec.data.confidence, StatedConfidence)
    codec, longest = Codec(spec.data.confidence), stage.rollouts.generate.sampling.max_new_tokens
    reading = TeacherPrompts(
        teachers, codec, settings.in_privileged, settings.note if settings.in_note else ""
    )
    # The longest answer must hold a stated confidence and one more token.
    needed = len(with_confidence(codec, student, (), 1.0).ids) + 1
    if longest < needed:
        raise ModelError(
            f"Answers of stage {stage.name} have at most {longest} tokens, but a stated confidence "
            f"alone takes {needed}; "
            "raise rollouts.generate.sampling.max_new_tokens."
        )
    return ConfidenceFilter(
        VerdictFilter(sampler, student, kind, reading), settings, codec, longest
    )
