"""Asking a model: problems become prompts, prompts become sampled answers, answers get verdicts.

A cut answer counts as a failure and is not shown to the verifier. A verdict of None ("could not
tell") leaves both the numerator and the denominator of a pass rate. An answer is token ids from end
to end: its text is for the verifier and for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from trainer.engine.distributed.world import World
from trainer.spec.sampling import Sampling
from trainer.text.calibration.codec import Codec
from trainer.text.evaluation.intervals import Counts
from trainer.text.language.chat import check_length, prompt_ids
from trainer.text.language.models import LanguageModel
from trainer.text.language.tokenizers import decode
from trainer.text.problems import Problem
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample
from trainer.text.rollouts.records import SampleRequest, Source, Trajectory
from trainer.text.verifiers import Verifier

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Question:
    """A problem as a model is asked it: `text` is what `prompt` encodes, before any chat
    template.
    """

    problem: Problem
    prompt: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Answer:
    """A judged answer. `read` is the answer as the verifier found it in `text`; `source` is whose
    it is, student or teacher.

    `logprobs` and `entropies` [T] are those of its author at temperature 1, `sampled_logprobs` [T]
    are under the law that it was drawn from, and `versions` those of the weights that wrote its
    segments, where these are known.
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
    sampled_logprobs: NDArray[np.float32] | None = None
    versions: tuple[int, ...] = ()


@dataclass(frozen=True)
class SamplerAndJudge:
    """What turns questions into judged answers. `rows` are sampled side by side, in each of the
    processes that share the work.

    With a `codec` questions ask for a stated confidence, and the verifier reads answers without
    theirs.
    """

    verifier: Verifier
    template: str
    rows: int
    codec: Codec | None = None
    world: World = field(default_factory=World)

    def questions(
        self, model: LanguageModel, problems: Iterable[Problem], longest: int
    ) -> list[Question]:
        """Format and encode each problem's prompt. Raises ModelError where prompt and longest
        answer do not fit the model.
        """
        texts = ((problem, self._asked(problem)) for problem in problems)
        asked = [Question(problem, prompt_ids(model, text), text) for problem, text in texts]
        check_length(
            model, max((question.prompt for question in asked), key=len, default=()), longest
        )
        return asked

    def sample_answers(
        self, model: LanguageModel, asked: Sequence[Question], samples: Sequence[tuple[int, ...]], sampling: Sampling, noise: Noise,
        source: Source = "student", progress: Progress | None = None,
        begun: Sequence[tuple[int, ...]] | None = None,
    ) -> list[Answer]:  # fmt: skip
        """Sample and judge the answers number `samples[i]` to question i, in that order.

        `begun[i]` are ids that every answer to question i begins with; they are judged with it and
        are not among its ids.
        """
        everything = list(zip(asked, begun or [()] * len(asked), samples, strict=True))
        own = self._ask(model, self.world.divide(everything), sampling, noise, source, progress)
        return [answer for answers in self.world.gather(own) for answer in answers]

    def _ask(
        self, model: LanguageModel, everything: Sequence[tuple[Question, tuple[int, ...], tuple[int, ...]]], sampling: Sampling,
        noise: Noise, source: Source, progress: Progress | None,
    ) -> list[list[Answer]]:  # fmt: skip
        """The answers to each question, asked by this process."""
        requests = [
            SampleRequest(question.problem.id, (*question.prompt, *first), numbers)
            for question, first, numbers in everything
        ]
        trajectories = sample(
            model, requests, sampling, noise, rows=self.rows, source=source, progress=progress
        )
        owners = [
            (question.problem, first) for question, first, numbers in everything for _ in numbers
        ]
        judged = iter(
            self._judge(
                model,
                [problem for problem, _ in owners],
                trajectories,
                source,
                [first for _, first in owners],
            )
        )
        return [list(islice(judged, len(numbers))) for _, _, numbers in everything]

    def judge(
        self,
        model: LanguageModel,
        problems: Sequence[Problem],
        trajectories: Sequence[Trajectory],
        source: Source = "student",
    ) -> list[Answer]:
        """The answer that each trajectory is to the problem beside it. A stated confidence is no
        part of what the verifier reads.
        """
        own = self.world.divide(list(zip(problems, trajectories, strict=True)))
        nothing: list[tuple[int, ...]] = [()] * len(own)
        return self.world.gather(
            self._judge(
                model, [problem for problem, _ in own], [one for _, one in own], source, nothing
            )
        )

    def _judge(
        self, model: LanguageModel, problems: Sequence[Problem], trajectories: Sequence[Trajectory], source: Source,
        begun: Sequence[tuple[int, ...]],
    ) -> list[Answer]:  # fmt: skip
        texts = [
            decode(model, (*first, *trajectory.ids))
            for first, trajectory in zip(begun, trajectories, strict=True)
        ]
        whole = [at for at, trajectory in enumerate(trajectories) if not trajectory.truncated]
        read = [
            (self.codec.strip(texts[at]) if self.codec else texts[at], problems[at].answer)
            for at in whole
        ]
        verdicts = dict(zip(whole, self.verifier.judge(read), strict=True))
        return [
            Answer(
                problems[at], got.sample, source, got.prompt, got.ids, got.truncated, texts[at],
                verdicts[at].correct if at in verdicts else False, verdicts[at].answer if at in verdicts else "",
                _known(got.logprobs), _known(got.entropies), _known(got.sampled_logprobs), got.versions,
            )
            for at, got in enumerate(trajectories)
        ]  # fmt: skip

    def _asked(self, problem: Problem) -> str:
        text = self.template.replace("{question}", problem.question)
        return self.codec.instruction(text) if self.codec else text


def _known(values_T: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """None where the program that sampled does not tell."""
    return None if np.isnan(values_T).any() else values_T


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
