"""The parts of a text run, loaded and checked: networks, verifier, and problems as questions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import GenerationConfig

from trainer.engine.loop import Runtime
from trainer.spec import LowRankAdapter, NoAdapter, RunSpec, VllmSampler
from trainer.text import problems
from trainer.text.calibration.codec import Codec
from trainer.text.language import adapters
from trainer.text.language.chat import text_ids
from trainer.text.language.models import LanguageModel, layers_of, load, recompute_activations
from trainer.text.mechanisms import require_code
from trainer.text.problems import ProblemSet
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.engines.sampling import slow_sampling_note
from trainer.text.rollouts.engines.vllm.server import vllm_python
from trainer.text.rollouts.questions import Question
from trainer.text.teachers.loading import Teachers, open_teachers
from trainer.text.teachers.served.served_view import RunHandle
from trainer.text.teachers.teachability import added_ends_note
from trainer.text.training.problem_checks import (
    answer_limits,
    check_readable_references,
    codec_of,
    require_solutions,
    require_writable_confidence,
)
from trainer.text.verifiers import Verifier


@dataclass(frozen=True)
class RunComponents:
    """Everything a run works with; questions follow the order of their problem sets.

    `codec` reads stated confidences; it is None where answers state none.
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
        """All questions by problem id."""
        return {
            question.problem.id: question
            for question in (*self.train, *self.evaluation, *self.retained)
        }


def load_components(spec: RunSpec, rt: Runtime, group: str, stack: ExitStack) -> RunComponents:
    """Load everything that the run definition names; `stack` closes the verifier.

    The student's trained parameters become the optimiser group `group`. Raises ModelError and
    ProblemError, CodeError, and RunRefused where vLLM is chosen but not installed.
    """
    # Check these first: a missing server or function must end the run before models are loaded.
    require_code(spec)
    if isinstance(spec.compute.sampler, VllmSampler):
        vllm_python()
    problem_sets = problems.load_all(spec.data)
    verifier = stack.enter_context(Verifier(spec.data.verifier, spec.data.verifier_seconds))
    for role, items in (
        ("held-out", problem_sets.evaluation.items),
        ("training", problem_sets.train.items),
    ):
        check_readable_references(
            spec.data.verifier.kind,
            verifier,
            role,
            items,
            lambda sentence: rt.log.log("warning", sentence),
        )
    sets = {
        "train": problem_sets.train,
        "evaluation": problem_sets.evaluation,
        **({"retained": problem_sets.retained} if problem_sets.retained else {}),
    }
    student = load_student(spec, rt.device)
    if spec.compute.gradient_checkpointing:
        recompute_activations(student.model)
    rt.network(
        group, student.model, layers_of(student.model), spec.networks.student.dtype == "bfloat16"
    )
    codec, limits = codec_of(spec), answer_limits(spec)
    if codec:
        require_writable_confidence(codec, student, limits)
    teachers = open_teachers(
        spec,
        student,
        rt.device,
        rt.refresh,
        RunHandle(rt.log.log, lambda done, of: rt.progress("teacher", done, of), lambda: rt.step),
    )
    student = _ending_as_its_teachers(student, teachers, rt)
    _describe_networks(spec, student, teachers, rt)
    sampler = SamplerAndJudge(
        verifier, spec.data.prompt, lambda: rt.generation_rows, codec, rt.world
    )

    def questions_of(role: str, longest: int) -> list[Question]:
        return sampler.questions(student, sets[role].items, longest) if role in sets else []

    if any(stage.source == "solutions" for stage in spec.stages):
        require_solutions(problem_sets.train.items)
        for problem in problem_sets.train.items:
            text_ids(student, problem.solution)
    train = questions_of("train", limits.pool)
    # Before any problem is sampled: a data set that cannot be taught must not cost stage 0.
    for note in teachers.check(train):
        rt.log.log("info", note)
    return RunComponents(
        student,
        teachers,
        sampler,
        codec,
        sets,
        train,
        questions_of("evaluation", limits.held_out),
        questions_of("retained", limits.held_out),
    )


def _ending_as_its_teachers(
    student: LanguageModel, teachers: Teachers, rt: Runtime
) -> LanguageModel:
    """Return the student with the end tokens of its teachers added; the log names them."""
    ends = teachers.ends_of(student)
    if note := added_ends_note(student, ends):
        rt.log.log("warning", note)
    return replace(student, eos_ids=ends)


def _describe_networks(
    spec: RunSpec, student: LanguageModel, teachers: Teachers, rt: Runtime
) -> None:
    """Log what an adapter trains, and which networks are sampled slowly and why."""
    adapter = spec.networks.student.adapter
    if isinstance(adapter, LowRankAdapter):
        for level, note in adapters.describe(student, adapter):
            rt.log.log(level, note)
    networks = [student, *(view.language_model for view in teachers.loaded)]
    # A self teacher is the student's network again.
    for note in dict.fromkeys(map(slow_sampling_note, networks)):
        if note:
            rt.log.log("warning", note)


def load_student(spec: RunSpec, device: torch.device) -> LanguageModel:
    """Load the student with its adapter.

    With bfloat16 only the updates compute in bfloat16: weights, moments and gradients are held, and
    answers sampled, in float32.
    """
    network = spec.networks.student
    dtype = "float32" if network.dtype == "bfloat16" else network.dtype
    student = load(network.model_copy(update={"dtype": dtype}), spec.seed, device)
    if isinstance(network.adapter, LowRankAdapter):
        adapters.add_adapter(student, network.adapter, spec.seed)
    return student


def model_folder_files(
    model: LanguageModel, adapter: NoAdapter | LowRankAdapter
) -> dict[str, bytes]:
    """Return the files of a model folder except its weights, by name: configuration and tokenizer.

    An adapter adds its own description files.
    """
    adapter_files = (
        adapters.config_file(model, adapter) if isinstance(adapter, LowRankAdapter) else {}
    )
    # transformers writes these files to a folder only.
    with TemporaryDirectory() as folder:
        model.model.config.save_pretrained(folder)
        # The end tokens of a chat model are in no other file.
        GenerationConfig(eos_token_id=list(model.eos_ids)).save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        return {
            path.name: path.read_bytes()
            for path in sorted(Path(folder).iterdir())
            if path.is_file()
        } | adapter_files
