"""Asking a model: problems become prompts, prompts become sampled answers, answers get verdicts.

A cut answer counts as a failure and is not shown to the verifier. A verdict of None ("could not tell") leaves both the numerator and
the denominator of a pass rate. An answer is token ids from end to end: its text is for the verifier and for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.spec.sampling import Sampling
from trainer.text.chat import check_length, prompt_ids
from trainer.text.intervals import Counts
from trainer.text.models import LanguageModel
from trainer.text.problems import Problem
from trainer.text.rollouts.noise import Noise
from trainer.text.rollouts.records import Request, Source, Trajectory
from trainer.text.rollouts.sampling import sample
from trainer.text.tokenizers import decode
from trainer.text.verifiers import Verifier

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Question:
    """A problem as a model is asked it."""

    problem: Problem
    prompt: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """A judged answer. `read` is the answer as the verifier found it in `text`; `source` is whose it is, student or teacher.

    `logprobs` and `entropies` [T] are those of its author at temperature 1, where they are known.
    """

    problem: Problem
    sample: int
    source: Source
    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    truncated: bool
    text: str
    verdict: bool | None
    read: str
    logprobs: NDArray[np.float32] | None = None
    entropies: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Examiner:
    """What turns questions into judged answers. `rows` are sampled side by side."""

    verifier: Verifier
    template: str
    rows: int

    def questions(self, model: LanguageModel, problems: Iterable[Problem], longest: int) -> list[Question]:
        """Format and encode each problem's prompt. Raises ModelError where prompt and longest answer do not fit the model."""
        asked = [Question(problem, prompt_ids(model, self.template.replace("{question}", problem.question))) for problem in problems]
        check_length(model, max((question.prompt for question in asked), key=len, default=()), longest)
        return asked

    def ask(
        self, model: LanguageModel, asked: Sequence[Question], samples: Sequence[tuple[int, ...]], sampling: Sampling, noise: Noise,
        source: Source = "student", progress: Progress | None = None,
    ) -> list[Answer]:  # fmt: skip
        """Sample and judge the answers number `samples[i]` to question i, in that order."""
        requests = [Request(question.problem.id, question.prompt, numbers) for question, numbers in zip(asked, samples, strict=True)]
        trajectories = sample(model, requests, sampling, noise, rows=self.rows, source=source, progress=progress)
        problems = [question.problem for question, numbers in zip(asked, samples, strict=True) for _ in numbers]
        return self._judge(model, problems, trajectories, source)

    def _judge(self, model: LanguageModel, problems: list[Problem], trajectories: list[Trajectory], source: Source) -> list[Answer]:
        texts = [decode(model, trajectory.ids) for trajectory in trajectories]
        whole = [at for at, trajectory in enumerate(trajectories) if not trajectory.truncated]
        verdicts = dict(zip(whole, self.verifier.judge([(texts[at], problems[at].answer) for at in whole]), strict=True))
        return [
            Answer(
                problems[at], got.sample, source, got.prompt, got.ids, got.truncated, texts[at],
                verdicts[at].correct if at in verdicts else False, verdicts[at].answer if at in verdicts else "",
                got.logprobs, got.entropies,
            )
            for at, got in enumerate(trajectories)
        ]  # fmt: skip


def tally(problems: Sequence[Problem], answers: Iterable[Answer]) -> tuple[Counts, Counts]:
    """Count (passed, verdicts) of each problem."""
    place = {problem.id: at for at, problem in enumerate(problems)}
    passed, verdicts = np.zeros(len(problems), np.int64), np.zeros(len(problems), np.int64)
    for answer in answers:
        if answer.verdict is not None:
            passed[place[answer.problem.id]] += answer.verdict
            verdicts[place[answer.problem.id]] += 1
    return passed, verdicts


def truncated_share(answers: Sequence[Answer]) -> float:
    return sum(answer.truncated for answer in answers) / max(1, len(answers))


def tokens_of(answers: Iterable[Answer]) -> int:
    """Tokens that a model reads to sample or score the answers, prompts included."""
    return sum(len(answer.prompt) + len(answer.ids) for answer in answers)
