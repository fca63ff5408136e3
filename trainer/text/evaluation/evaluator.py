"""Evaluations during a run: held-out and retained problems, and the tracked problems of the pool.

The untrained student's counts are stored for the whole run, because every later evaluation is
compared with them problem by problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.engine.loop import EvaluationReport, Runtime
from trainer.spec import PrivilegedContext, RunSpec
from trainer.text.evaluation import confidence, pass_rate_summary, privileged_gap
from trainer.text.evaluation.conditions import conditions
from trainer.text.evaluation.pass_rate_summary import ProblemCounts, count_by_problem
from trainer.text.recording import side_files
from trainer.text.recording.evaluation_answers import KeptAnswers, kept_answer
from trainer.text.recording.rollout_files import evenly_spaced, record_answers
from trainer.text.recording.teacher_signals import compute_token_signals
from trainer.text.rollouts.answers import tally
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.teachers.teacher_view import TeacherView
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_sampled
from trainer.text.training.log_messages import describe_evaluation


@dataclass
class Evaluator:
    """Evaluates the student.

    `before` holds the untrained student's counts by role, `tiers` one tier for each held-out
    problem ("" where unknown).
    """

    spec: RunSpec
    components: RunComponents
    before: dict[str, ProblemCounts] = field(default_factory=dict)
    tiers: list[str] = field(default_factory=list)

    def evaluate(self, rt: Runtime, when: str) -> EvaluationReport:
        """Evaluate every role that is due; emit its events."""
        if when == "before":
            self._find_tiers(rt)
        # Every later evaluation is compared with the first problem by problem, so that needs all.
        everything = range(len(self.components.evaluation))
        indices = self._common_indices() if when == "during" else everything
        event, answers = self._evaluate_role(rt, when, "evaluation", indices)
        tokens = rt.micro_batch_tokens
        values = (
            pass_rate_summary.metrics("eval", event)
            | confidence.measure(self.components, answers, tokens, when, rt)
            | self._privilege(rt, when, answers)
        )
        if self.components.retained and when != "during":
            retained, _ = self._evaluate_role(
                rt, when, "retained", range(len(self.components.retained))
            )
            values |= pass_rate_summary.metrics(
                "retained", retained
            ) | pass_rate_summary.forgetting(retained)
        return EvaluationReport(values, event["common"]["pass_rate"], describe_evaluation(event))

    def track(self, rt: Runtime, weights: Sequence[float | None]) -> None:
        """Measure the pass rates of the tracked problems again."""
        indices = _sample(len(self.components.train), self.spec.pool.track_problems)
        if not indices:
            return
        k = self.spec.pool.rollouts_per_problem
        questions = [self.components.train[index] for index in indices]
        answers = self._answers(rt, questions, range(k), "tracking", self.spec.pool.sampling)
        problems = [question.problem for question in questions]
        passed, verdicts = tally(problems, answers)
        rt.emit(
            "problems",
            role="tracked",
            reason="tracking",
            k=k,
            ids=[problem.id for problem in problems],
            passed=passed.tolist(),
            verdicts=verdicts.tolist(),
            weights=[weights[index] for index in indices],
        )

    def state(self) -> dict[str, Any]:
        return {
            "before": {role: counts.state() for role, counts in self.before.items()},
            "tiers": self.tiers,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.tiers = list(state["tiers"])
        for role, counts in state["before"].items():
            # Only counts are stored: the problems follow from the run's definition.
            problems = [question.problem for question in self._questions(role)]
            self.before[role] = ProblemCounts(
                problems,
                np.array(counts["passed"], np.int64),
                np.array(counts["verdicts"], np.int64),
            )

    def _questions(self, role: str) -> list[Question]:
        return self.components.evaluation if role == "evaluation" else self.components.retained

    def _evaluate_role(
        self, rt: Runtime, when: str, role: str, indices: Sequence[int]
    ) -> tuple[dict[str, Any], list[Answer]]:
        settings, all_questions = self.spec.evaluation, self._questions(role)
        samples = settings.samples if when == "during" else settings.final_samples
        questions = [all_questions[index] for index in indices]
        answers = self._answers(rt, questions, range(samples), role, settings.sampling)
        now = count_by_problem([question.problem for question in questions], answers)
        if when == "before":
            self.before[role] = now
        before = None if when == "before" else self.before[role].at(indices)
        tiers = (
            [self.tiers[index] for index in indices]
            if role == "evaluation"
            else [""] * len(indices)
        )
        event = pass_rate_summary.summary(now, before, tiers, answers, samples, settings.pass_at)
        if role == "evaluation":
            asked = {index: place for place, index in enumerate(indices)}
            common = now.at([asked[index] for index in self._common_indices()])
            event["common"] = pass_rate_summary.common(common)
        rt.emit("evaluation", when=when, role=role, **event)
        self._record_results(rt, when, role, now, answers, samples)
        if role == "evaluation":
            recorded = evenly_spaced(answers, self.spec.record.rollouts)
            signals = compute_token_signals(self.components, recorded, rt.micro_batch_tokens, rt)
            student = self.components.student
            record_answers(rt, student, "evaluation", recorded, len(answers), signals)
        return event, answers

    def _record_results(
        self,
        rt: Runtime,
        when: str,
        role: str,
        counts: ProblemCounts,
        answers: Sequence[Answer],
        samples: int,
    ) -> None:
        """Write the counts of each problem, and answers to it, to a side file; name it by an event.

        `answers` are in the order of the problems, `samples` to each.
        """
        data, sampling = self.spec.data, self.spec.evaluation.sampling
        ids = [problem.id for problem in counts.problems]
        kept = KeptAnswers()
        for first in range(0, len(answers), samples):
            kept.add([_kept(answer) for answer in answers[first : first + samples]])
        table = side_files.result_table(ids, counts.passed, counts.verdicts, kept.rows)
        rt.emit(
            "evaluated",
            when=when,
            role=role,
            fingerprint=self.components.sets[role].fingerprint,
            problems=len(ids),
            samples=samples,
            conditions=conditions(data.verifier, data.prompt, data.confidence, sampling),
            file=side_files.write(rt.folder / "side", table),
        )

    def _common_indices(self) -> Sequence[int]:
        """The held-out problems that every evaluation asks, also those during training."""
        limit, count = self.spec.evaluation.problems, len(self.components.evaluation)
        if limit is None or not self.spec.evaluation.every:
            return range(count)
        return _sample(count, limit)

    def _privilege(self, rt: Runtime, when: str, answers: list[Answer]) -> dict[str, float]:
        """Measure the gain from privileged text, where held-out problems have such text."""
        teachers = self.components.teachers
        view = teachers.main
        if (
            # It samples from the teacher, whose network must be here.
            not isinstance(view, TeacherView)
            or not isinstance(view.context, PrivilegedContext)
            or not view.gives_probabilities
        ):
            return {}
        return privileged_gap.measure(
            self.components, view, answers, self.spec.evaluation.sampling, self.spec.seed, when, rt
        )

    def _find_tiers(self, rt: Runtime) -> None:
        questions = self.components.evaluation
        self.tiers = [question.problem.tier for question in questions]
        if not any(self.tiers):
            # Answers that are counted nowhere else: with tiers from the counted ones the hopeless
            # could only rise and the mastered only fall.
            settings = self.spec.evaluation
            answers = self._answers(
                rt, questions, range(settings.final_samples), "tiers", settings.sampling
            )
            self.tiers = pass_rate_summary.tiers_from_counts(
                count_by_problem([question.problem for question in questions], answers)
            )

    def _answers(
        self, rt: Runtime, questions: list[Question], samples: range, purpose: str, sampling: Any
    ) -> list[Answer]:
        components = self.components
        answers = components.sampler.sample_answers(
            components.student,
            questions,
            [tuple(samples)] * len(questions),
            sampling,
            # Step 0 at every step: with the same noise an unchanged student scores exactly the
            # same.
            Noise(self.spec.seed, 0, purpose),
            progress=lambda done, of: rt.progress("evaluation", done, of),
        )
        count_sampled(rt, components.student, answers)
        return answers


def _kept(answer: Answer) -> dict[str, Any]:
    return kept_answer(
        answer.sample, answer.verdict, answer.truncated, len(answer.ids), answer.read, answer.text
    )


def _sample(count: int, size: int) -> list[int]:
    """The same `size` of `count` indices each time, in order."""
    return sorted(np.random.Generator(np.random.PCG64(0)).permutation(count)[:size].tolist())
