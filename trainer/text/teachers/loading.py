"""The teachers of a run, loaded as its definition names them.

A run has one teacher and possibly specialists, each a model for the problems of some domains. A
teacher that no stage learns from is not loaded. Where a stage compares with a teacher's
probabilities, the two tokenizers must give the same ids the same meaning; embeddings may be padded
to different widths. Where all stages learn from a teacher's texts alone, any tokenizer will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainer.engine.distributed.tensors import is_sharded
from trainer.spec import EndpointTeacher, ModelTeacher, RunSpec, SelfTeacher, Teacher, TextTeacher
from trainer.text.language.models import LanguageModel, ModelError, load
from trainer.text.language.tokenizers import require_same_vocabulary
from trainer.text.problems import Problem, ProblemError
from trainer.text.rollouts.answers import Question
from trainer.text.teachers.contexts import require_privileged
from trainer.text.teachers.endpoint import key_of
from trainer.text.teachers.snapshots import UnchangedWeights, weights_of
from trainer.text.teachers.stored_texts import texts_for
from trainer.text.teachers.teacher_view import TeacherView

# The main teacher's name in rows and messages.
MAIN = "teacher"
# Encoding every privileged text of a large data set would delay the start of the run.
MOST_CHECKED = 1000
TEXTS_ONLY_REMEDY = (
    "Or learn from the teacher's texts alone, for which any tokenizer will do: "
    "give every stage the source teacher_written and the objective cross_entropy."
)


@dataclass(frozen=True)
class Teachers:
    """All teachers of a run; `main` teaches the problems without a specialist.

    `vocabulary` is the number of token ids that the student shares with all of them. `texts` is the
    main teacher where it gives texts only; then `main` is None.
    """

    vocabulary: int
    main: TeacherView | None = None
    texts: TextTeacher | EndpointTeacher | None = None
    by_domain: Mapping[str, TeacherView] = field(default_factory=dict)

    @property
    def views(self) -> tuple[TeacherView, ...]:
        """Every teacher whose network is loaded here."""
        return (*([self.main] if self.main else []), *dict.fromkeys(self.by_domain.values()))

    @property
    def gives_probabilities(self) -> bool:
        """Whether the student can be compared with its teacher's probabilities on every problem."""
        return self.main is not None and all(view.gives_probabilities for view in self.views)

    def ends_of(self, student: LanguageModel) -> tuple[int, ...]:
        """Return the student's end tokens, then those of its teachers that share its tokenizer.

        The student learns to write what ends a teacher's answers, so it must end there too.
        """
        teachers_ends = [
            end
            for view in self.views
            if view.gives_probabilities
            for end in view.language_model.eos_ids
            if end < student.vocabulary
        ]
        return tuple(dict.fromkeys((*student.eos_ids, *teachers_ends)))

    def view_of(self, problem: Problem) -> TeacherView | None:
        """The teacher of this problem; None where it is not a network that is loaded here."""
        return self.by_domain.get(problem.domain, self.main)

    def of(self, problem: Problem) -> TeacherView:
        """The teacher of this problem, which must be loaded here; see `view_of`."""
        view = self.view_of(problem)
        assert view is not None
        return view

    def check(self, questions: Sequence[Question]) -> list[str]:
        """Check that these training problems can be taught; return notes for the log.

        Raises ModelError, ProblemError or RunRefused if some cannot.
        """
        domains = {question.problem.domain for question in questions}
        if unused_domains := [domain for domain in self.by_domain if domain not in domains]:
            raise ProblemError(
                f"no training problem has the domain “{unused_domains[0]}” of "
                "networks.specialists; correct it or remove the specialist"
            )
        notes = []
        for view in self.views:
            taught = [question for question in questions if self.view_of(question.problem) is view]
            require_privileged(view.context, [question.problem for question in taught])
            if taught:
                # Only the longest question, without a privileged text: nothing of it can be
                # shortened.
                view.prompt(max(taught, key=lambda question: len(question.prompt)), "")
            notes += _too_long_notes(view, taught)
        without_specialist = [
            question.problem
            for question in questions
            if question.problem.domain not in self.by_domain
        ]
        if isinstance(self.texts, TextTeacher):
            texts_for(self.texts, without_specialist)
        elif isinstance(self.texts, EndpointTeacher):
            require_privileged(self.texts.context, without_specialist)
            key_of(self.texts)
        return notes

    def after_step(self) -> None:
        """Update the moving averages of the student's weights."""
        for view in self.views:
            view.weights.update()

    def tensors(self) -> dict[str, Tensor]:
        """The tensors for a checkpoint: a moving average; everything else is loaded again."""
        return self.main.weights.tensors() if self.main else {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        if self.main:
            self.main.weights.load(tensors)


def _too_long_notes(view: TeacherView, questions: Sequence[Question]) -> list[str]:
    """A note on how many privileged texts are too long, from a sample of many problems."""
    sampled = questions[:: max(1, len(questions) // MOST_CHECKED)]
    too_long = sum(not view.shows_all(question) for question in sampled)
    if not too_long:
        return []
    return [
        f"What the {view.name} is shown is too long for {too_long} of {len(sampled)} training "
        "problems that were looked at, and loses its "
        f"middle: together with question and longest answer ({view.longest} tokens) it must fit "
        "the model and the context's most_tokens."
    ]


def open_teachers(
    spec: RunSpec,
    student: LanguageModel,
    device: torch.device,
    refresh: Callable[[], None] = lambda: None,
) -> Teachers:
    """Load the run's teachers.

    `student` has its weights from before the run, its adapter if it gets one, and its device
    (`Runtime.network`). `refresh` is called whenever the student's parameters have temporarily been
    given other values (`Runtime.refresh`). Raises ModelError if a model cannot be used, or does not
    share the student's tokenizer where it must.
    """
    if not any(
        stage.objective.compares_with_teacher or stage.source == "teacher_written"
        for stage in spec.stages
    ):
        return Teachers(student.vocabulary)
    compared = any(stage.objective.compares_with_teacher for stage in spec.stages)
    longest = max(stage.rollouts.generate.sampling.max_new_tokens for stage in spec.stages)

    def model(name: str, teacher: ModelTeacher, seed: int) -> TeacherView:
        loaded = load(teacher, seed, device, frozen=True)
        loaded.model.requires_grad_(False)
        return TeacherView(
            name,
            loaded,
            teacher.context,
            UnchangedWeights(),
            longest,
            _shares_vocabulary(student, loaded, compared),
        )

    by_domain = {
        domain: view
        for number, specialist in enumerate(spec.networks.specialists)
        # One view for all domains of a specialist: its network is loaded once.
        for view in [
            model(
                f"specialist {'+'.join(specialist.domains)}",
                specialist.teacher,
                spec.seed + 2 + number,
            )
        ]
        for domain in specialist.domains
    }
    teacher: Teacher = spec.networks.teacher
    if isinstance(teacher, TextTeacher | EndpointTeacher):
        return Teachers(student.vocabulary, None, teacher, by_domain)
    if isinstance(teacher, ModelTeacher):
        return Teachers(student.vocabulary, model(MAIN, teacher, spec.seed + 1), None, by_domain)
    return Teachers(
        student.vocabulary, _self_teacher(teacher, spec, student, longest, refresh), None, by_domain
    )


def _self_teacher(
    teacher: SelfTeacher,
    spec: RunSpec,
    student: LanguageModel,
    longest: int,
    refresh: Callable[[], None],
) -> TeacherView:
    weights = weights_of(teacher, spec.networks.student.adapter, student.model, refresh)
    sharded = any(map(is_sharded, student.model.parameters()))
    return TeacherView(
        MAIN,
        replace(student, thinking=teacher.thinking),
        teacher.context,
        weights,
        longest,
        head_must_be_copied=sharded,
    )


def _shares_vocabulary(student: LanguageModel, teacher: LanguageModel, compared: bool) -> bool:
    """Whether the teacher's ids have the student's meaning.

    Raises ModelError if they do not but `compared` says that they must.
    """
    try:
        require_same_vocabulary(student, teacher)
    except ModelError as error:
        if compared:
            raise ModelError(f"{error} {TEXTS_ONLY_REMEDY}") from error
        return False
    return True
