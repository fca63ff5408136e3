"""The teachers of a run, loaded as its definition names them.

A run has one teacher and possibly specialists, each a model for the problems of some domains. A
teacher that no stage learns from is not loaded. Where a stage compares with a teacher's
probabilities, the two tokenizers must give the same ids the same meaning; embeddings may be padded
to different widths. Where all stages learn from a teacher's texts alone, any tokenizer will do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainer.engine.distributed.tensors import is_sharded
from trainer.engine.outcome import Failure
from trainer.spec import (
    EndpointTeacher,
    ModelTeacher,
    RunSpec,
    SelfTeacher,
    ServedTeacher,
    Teacher,
    TextTeacher,
)
from trainer.spec.networks import SpecialistTeacher
from trainer.text.language.models import LanguageModel, load
from trainer.text.language.text_models import open_tokenizer
from trainer.text.problems import Problem
from trainer.text.rollouts.questions import Question
from trainer.text.teachers.endpoint import key_of
from trainer.text.teachers.scoring_teacher import ScoringTeacher
from trainer.text.teachers.served.served_view import RunHandle, ServedView, open_served
from trainer.text.teachers.snapshots import UnchangedWeights, weights_of
from trainer.text.teachers.teachability import (
    check_taught,
    check_written,
    compares_probabilities,
    joint_ends,
    needs_teacher,
    require_specialist_problems,
    shares_vocabulary,
)
from trainer.text.teachers.teacher_view import TeacherView

# The main teacher's name in rows and messages.
MAIN = "teacher"
NO_RUN = RunHandle()


@dataclass(frozen=True)
class Teachers:
    """All teachers of a run; `main` teaches the problems without a specialist.

    `vocabulary` is the number of token ids that the student shares with all of them. `texts` is the
    main teacher where it gives texts only; then `main` is None.
    """

    vocabulary: int
    main: ScoringTeacher | None = None
    texts: TextTeacher | EndpointTeacher | None = None
    by_domain: Mapping[str, ScoringTeacher] = field(default_factory=dict)

    @property
    def views(self) -> tuple[ScoringTeacher, ...]:
        """Every teacher that reads the student's answers."""
        return (*([self.main] if self.main else []), *dict.fromkeys(self.by_domain.values()))

    @property
    def loaded(self) -> tuple[TeacherView, ...]:
        """Every teacher whose network is loaded here."""
        return tuple(view for view in self.views if isinstance(view, TeacherView))

    @property
    def served(self) -> tuple[ServedView, ...]:
        """Every teacher that is on servers."""
        return tuple(view for view in self.views if isinstance(view, ServedView))

    @property
    def gives_probabilities(self) -> bool:
        """Whether the student can be compared with its teacher's probabilities on every problem.

        They are those of the whole vocabulary.
        """
        return self.main is not None and all(view.gives == "hidden_states" for view in self.views)

    def ends_of(self, student: LanguageModel) -> tuple[int, ...]:
        """Return the student's end tokens, then those of its teachers that share its tokenizer.

        The student learns to write what ends a teacher's answers, so it must end there too.
        """
        return joint_ends(
            student, [view.language_model for view in self.views if view.gives != "texts"]
        )

    def view_of(self, problem: Problem) -> ScoringTeacher | None:
        """The teacher that reads the answers to this problem; None where it gives texts alone."""
        return self.by_domain.get(problem.domain, self.main)

    def of(self, problem: Problem) -> ScoringTeacher:
        """The teacher that reads the answers to this problem, which must exist; see `view_of`."""
        view = self.view_of(problem)
        assert view is not None
        return view

    def check(self, questions: Sequence[Question]) -> list[str]:
        """Check that these training problems can be taught; return notes for the log.

        Raises ModelError, ProblemError or RunRefused if some cannot, and Failure if two teachers
        are one.
        """
        self.require_different()
        require_specialist_problems(self.by_domain, questions)
        notes = []
        for view in self.views:
            taught = [question for question in questions if self.view_of(question.problem) is view]
            notes += check_taught(view.formatter, view.name, taught)
        check_written(
            self.texts,
            [
                question.problem
                for question in questions
                if question.problem.domain not in self.by_domain
            ],
        )
        if isinstance(self.texts, EndpointTeacher):
            key_of(self.texts)
        return notes

    def after_update(self) -> None:
        """Update the moving averages of the student's weights."""
        for view in self.loaded:
            view.weights.update()

    def tensors(self) -> dict[str, Tensor]:
        """The tensors for a checkpoint: a moving average; everything else is loaded again."""
        return self.main.weights.tensors() if isinstance(self.main, TeacherView) else {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        if isinstance(self.main, TeacherView):
            self.main.weights.load(tensors)

    def fingerprints(self) -> dict[str, Mapping[str, Sequence[float]]]:
        """The scores of fixed texts by each teacher that is on servers, for a checkpoint."""
        return {view.name: view.check.to_json() for view in self.served}

    def require_different(self) -> None:
        """Raise Failure if two teachers on servers, with different names there, are one model."""
        for one, other in itertools.combinations(self.served, 2):
            names = [(view.teacher.urls, view.teacher.model) for view in (one, other)]
            if names[0] != names[1] and one.check.is_same_model(other.check):
                raise Failure(
                    f"The {one.name} ({one.teacher.model}) and the {other.name} "
                    f"({other.teacher.model}) are the same model: they score fixed texts alike.",
                    "Correct the URLs or the server that has lost one of the models.",
                )

    def require_same(self, fingerprints: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
        """Raise Failure if a teacher's servers have another model than those of a checkpoint."""
        for view in self.served:
            if stored := fingerprints.get(view.name):
                view.check.require_same(stored)


def open_teachers(
    spec: RunSpec,
    student: LanguageModel,
    device: torch.device,
    refresh: Callable[[], None] = lambda: None,
    run: RunHandle = NO_RUN,
) -> Teachers:
    """Load the run's teachers, and check the servers of those that are on servers.

    `student` has its weights from before the run, its adapter if it gets one, and its device
    (`Runtime.network`). `refresh` is called whenever the student's parameters have temporarily been
    given other values (`Runtime.refresh`). Raises ModelError if a model cannot be used, or does not
    share the student's tokenizer where it must, and Failure or RunRefused for a server.
    """
    if not needs_teacher(spec):
        return Teachers(student.vocabulary)
    compared = compares_probabilities(spec)
    longest = max(stage.rollouts.generate.sampling.max_new_tokens for stage in spec.stages)

    def model(name: str, setting: str, teacher: SpecialistTeacher, seed: int) -> ScoringTeacher:
        if isinstance(teacher, ServedTeacher):
            tokenizer = open_tokenizer(teacher.tokenizer_network)
            shares_vocabulary(student, tokenizer, compared=True)
            return open_served(name, setting, teacher, tokenizer, longest, device, run)
        loaded = load(teacher, seed, device, frozen=True)
        loaded.model.requires_grad_(False)
        return TeacherView(
            name,
            loaded,
            teacher.context,
            UnchangedWeights(),
            longest,
            shares_vocabulary(student, loaded, compared),
        )

    by_domain = {
        domain: view
        for number, specialist in enumerate(spec.networks.specialists)
        # One view for all domains of a specialist: its network is loaded once.
        for view in [
            model(
                f"specialist {'+'.join(specialist.domains)}",
                f"networks.specialists.{number}.teacher",
                specialist.teacher,
                spec.seed + 2 + number,
            )
        ]
        for domain in specialist.domains
    }
    teacher: Teacher = spec.networks.teacher
    if isinstance(teacher, TextTeacher | EndpointTeacher):
        return Teachers(student.vocabulary, None, teacher, by_domain)
    if isinstance(teacher, ModelTeacher | ServedTeacher):
        main = model(MAIN, "networks.teacher", teacher, spec.seed + 1)
        return Teachers(student.vocabulary, main, None, by_domain)
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
    # The second update of a round would read a head that the first one has changed.
    several_updates = any(stage.updates_per_step > 1 for stage in spec.stages)
    return TeacherView(
        MAIN,
        replace(student, thinking=teacher.thinking),
        teacher.context,
        weights,
        longest,
        head_must_be_copied=sharded or several_updates,
    )
