"""Build the engine, pipeline and filter of a stage from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from trainer.engine.distributed.world import World
from trainer.spec import Divergence, Objective, RunSpec, Stage
from trainer.spec.operation import VllmSampler
from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.mechanisms import function_of
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.engines.overlap import CopiedWeightsEngine, OverlapEngine
from trainer.text.rollouts.engines.sampling import InProcessEngine
from trainer.text.rollouts.engines.vllm.engine import VllmEngine
from trainer.text.rollouts.engines.vllm.gpu_memory import gpu_names
from trainer.text.rollouts.engines.vllm.server import Launch
from trainer.text.rollouts.filters.filter_parts import FilterParts
from trainer.text.rollouts.importance_weights import ImportanceWeightedFilter
from trainer.text.rollouts.pipeline import RolloutPipeline
from trainer.text.rollouts.protocols import Engine, Filter
from trainer.text.rollouts.questions import Question
from trainer.text.rollouts.records import CROSS_ENTROPY, DIVERGENCE, RATIO
from trainer.text.rollouts.streaming import require
from trainer.text.teachers.loading import Teachers


def build_engine(
    spec: RunSpec,
    student: LanguageModel,
    questions: Sequence[Question],
    folder: Path,
    stack: ExitStack,
    log_warning: Callable[[str], None],
    world: World,
    rows: Callable[[], int],
) -> Engine:
    """Build the engine that samples the student's answers, `rows()` side by side.

    A vLLM server keeps its files in `folder`, reports its restarts to `log_warning` and stops with
    `stack`. `world` are the processes that share the sampling where the trainer itself samples.
    """
    sampler = spec.compute.sampler
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
                gpus=gpu_names(sampler, student.device.index or 0)
                if student.device.type == "cuda"
                else (),
            ),
            spec.compute.generation_rows,
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
    tokens: Callable[[], int],
    held_out: Iterable[str] = (),
) -> RolloutPipeline:
    """Build the rollout pipeline of a stage; the student reads answers `tokens()` ids at a time.

    `held_out` are ids of problems that must never be trained on. Raises ModelError, and
    UnableEngine if the engine cannot do what the controller needs.
    """
    rollouts, sampling = stage.rollouts, stage.rollouts.generate.sampling
    require(engine, rollouts.control.abilities, f"The controller {rollouts.control.kind}")
    answer_filter = build_filter(spec, stage, sampler, student, teachers)
    if sampling.temperature and _samples_by_another_law(spec, sampling):
        bfloat16 = spec.networks.student.dtype == "bfloat16"
        answer_filter = ImportanceWeightedFilter(
            answer_filter, student, sampling.temperature, tokens, bfloat16
        )
    return RolloutPipeline(
        engine,
        function_of(rollouts.generate)(rollouts.generate),
        answer_filter,
        function_of(rollouts.control)(rollouts.control),
        function_of(rollouts.replay)(rollouts.replay),
        frozenset(held_out),
    )


def _samples_by_another_law(spec: RunSpec, sampling: Sampling) -> bool:
    """Whether answers are sampled by another distribution than the one that an update computes."""
    # Overlapped answers come from older weights, so they need importance weights like a server's.
    if isinstance(spec.compute.sampler, VllmSampler) or spec.compute.overlap:
        return True
    # Updates in bfloat16 compute other log-probs than the sampler, which computes in float32. A cut
    # distribution is chosen to be another one than the student's.
    is_cut = sampling.top_p < 1 or sampling.top_k > 0
    return spec.networks.student.dtype == "bfloat16" and not is_cut


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
    settings = stage.rollouts.filter
    parts = FilterParts(
        stage, sampler, student, teachers, token_kind(stage.objective), spec.data.confidence
    )
    built: Filter = function_of(settings)(settings, parts)
    return built


def token_kind(objective: Objective) -> int:
    """What a stage's tokens are trained by, unless a filter says otherwise."""
    if isinstance(objective, Divergence):
        return DIVERGENCE
    return CROSS_ENTROPY if objective.answers == "given" else RATIO
