"""What a text run works with, loaded and checked: the networks, the verifier and the problems as
questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from trainer.engine.loop import Runtime
from trainer.spec import LowRankAdapter, NoAdapter, RunSpec, StatedConfidence, VllmSampler
from trainer.text import problems
from trainer.text.calibration.codec import Codec
from trainer.text.calibration.tokens import require_writable
from trainer.text.language import adapters
from trainer.text.language.chat import text_ids
from trainer.text.language.models import LanguageModel, layers_of, load, recompute_activations
from trainer.text.problems import Problem, ProblemError, ProblemSet
from trainer.text.rollouts.answers import Question, SamplerAndJudge
from trainer.text.rollouts.engines.vllm.server import vllm_python
from trainer.text.teachers import Teachers, open_teachers
from trainer.text.verifiers import Verifier


@dataclass(frozen=True)
class RunComponents:
    """Questions follow the order of their problem sets. `codec` reads stated confidences; None
    where answers state none.
    """

    student: LanguageModel
    teachers: Teachers
    sampler: SamplerAndJudge
    codec: Codec | None
    sets: dict[str, ProblemSet]
    train: list[Question]
    evaluation: list[Question]
    retained: list[Question]

    @cached_property
    def questions(self) -> dict[str, Question]:
        """Every question by its problem's id."""
        return {
            question.problem.id: question
            for question in (*self.train, *self.evaluation, *self.retained)
        }


def load_components(spec: RunSpec, rt: Runtime, group: str, stack: ExitStack) -> RunComponents:
    """Load everything that a run names; `stack` closes the verifier. The student's trained
    parameters become the optimiser group `group`.

    Raises ModelError and ProblemError, and RunRefused where vLLM is chosen but not installed.
    """
    if isinstance(spec.compute.sampler, VllmSampler):
        vllm_python()
    problem_sets = problems.load_all(spec.data)
    sets = {
        "train": problem_sets.train,
        "evaluation": problem_sets.evaluation,
        **({"retained": problem_sets.retained} if problem_sets.retained else {}),
    }
    student = _load_student(spec, rt.device)
    rt.network(
        group, student.model, layers_of(student.model), spec.networks.student.dtype == "bfloat16"
    )
    codec = (
        Codec(spec.data.confidence) if isinstance(spec.data.confidence, StatedConfidence) else None
    )
    stages_longest = [stage.rollouts.generate.sampling.max_new_tokens for stage in spec.stages]
    pool_longest, held_out_longest = (
        max([spec.pool.sampling.max_new_tokens, *stages_longest]),
        spec.evaluation.sampling.max_new_tokens,
    )
    if codec:
        require_writable(codec, student, min([held_out_longest, *stages_longest]))
    teachers = open_teachers(spec, student, rt.device, rt.refresh)
    verifier = stack.enter_context(Verifier(spec.data.verifier, spec.data.verifier_seconds))
    sampler = SamplerAndJudge(
        verifier, spec.data.prompt, spec.compute.generation_rows, codec, rt.world
    )

    def questions_of(role: str, longest: int) -> list[Question]:
        return sampler.questions(student, sets[role].items, longest) if role in sets else []

    if any(stage.source == "solutions" for stage in spec.stages):
        _require_solutions(student, problem_sets.train.items)
    train = questions_of("train", pool_longest)
    for note in teachers.check(train):
        rt.log.log("info", note)
    return RunComponents(
        student,
        teachers,
        sampler,
        codec,
        sets,
        train,
        questions_of("evaluation", held_out_longest),
        questions_of("retained", held_out_longest),
    )


def _require_solutions(student: LanguageModel, problems: Sequence[Problem]) -> None:
    """Raise ProblemError where one is missing, and ModelError where the student cannot write
    one.
    """
    unsolved = [problem.id for problem in problems if not problem.solution.strip()]
    if unsolved:
        raise ProblemError(
            f"{len(unsolved)} of {len(problems)} training problems (the first is {unsolved[0]}) have no solution to train on; "
            "map data.train.columns.solution and fill the gaps, or choose another source for the stage"
        )
    for problem in problems:
        text_ids(student, problem.solution)


def _load_student(spec: RunSpec, device: torch.device) -> LanguageModel:
    """The student. bfloat16 means that updates compute in it: weights, moments and gradients are
    held, and answers sampled, in float32.
    """
    network = spec.networks.student
    dtype = "float32" if network.dtype == "bfloat16" else network.dtype
    student = load(network.model_copy(update={"dtype": dtype}), spec.seed, device)
    if isinstance(network.adapter, LowRankAdapter):
        adapters.apply(student, network.adapter, spec.seed)
    if spec.compute.gradient_checkpointing:
        recompute_activations(student.model)
    return student


def model_folder_files(
    model: LanguageModel, adapter: NoAdapter | LowRankAdapter
) -> dict[str, bytes]:
    """What a model folder holds beside its weights: configuration and tokenizer files, by name, and
    what makes it an adapter's folder.
    """
    adapter_files = (
        adapters.description(model, adapter) if isinstance(adapter, LowRankAdapter) else {}
    )
    with TemporaryDirectory() as folder:
        model.model.config.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        return {
            path.name: path.read_bytes()
            for path in sorted(Path(folder).iterdir())
            if path.is_file()
        } | adapter_files
