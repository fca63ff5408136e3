"""Problems become prompts, prompts become sampled answers, and answers get verdicts.

A truncated answer counts as a failure and is not shown to the verifier. A verdict of None ("could
not tell") leaves both the numerator and the denominator of a pass rate. An answer stays token ids
from sampler to loss: its text is for the verifier and for people.
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
from trainer.text.language.chat import check_length
from trainer.text.language.models import LanguageModel
from trainer.text.language.tokenizers import decode
from trainer.text.problems import Problem
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample
from trainer.text.rollouts.questions import Answer, Question, encoded
from trainer.text.rollouts.records import Progress, SampleRequest, Source, Trajectory
from trainer.text.verifiers import Verifier


@dataclass(frozen=True)
class SamplerAndJudge:
    """Turns questions into judged answers.

    `rows()` answers are sampled side by side in each of the processes that share the work. With a
    `codec` questions ask for a stated confidence, and the verifier reads answers without it.
    """

    verifier: Verifier
    template: str
    rows: Callable[[], int]
    codec: Codec | None = None
    world: World = field(default_factory=World)

    def questions(
        self, model: LanguageModel, problems: Iterable[Problem], longest: int
    ) -> list[Question]:
        """Format and encode each problem's prompt.

        Raises ModelError if a prompt and the longest answer together do not fit the model.
        """
        questions = [encoded(model, self.template, problem, self.codec) for problem in problems]
        check_length(
            model, max((question.prompt for question in questions), key=len, default=()), longest
        )
        return questions

    def sample_answers(
        self,
        model: LanguageModel,
        questions: Sequence[Question],
        samples: Sequence[tuple[int, ...]],
        sampling: Sampling,
        noise: Noise,
        source: Source = "student",
        progress: Progress | None = None,
        prefixes: Sequence[tuple[int, ...]] | None = None,
    ) -> list[Answer]:
        """Sample and judge the answers number `samples[i]` to question i, in that order.

        Every answer to question i continues the ids `prefixes[i]`; the verifier reads them with the
        answer, but they are not among its ids.
        """
        # Whole questions are divided among the ranks, not answers: the sampler reads a prompt once
        # for all of its answers.
        jobs = list(zip(questions, prefixes or [()] * len(questions), samples, strict=True))
        rank_jobs = self.world.divide(jobs)
        requests = [
            SampleRequest(question.problem.id, (*question.prompt, *prefix), numbers)
            for question, prefix, numbers in rank_jobs
        ]
        trajectories = sample(
            model, requests, sampling, noise, rows=self.rows(), source=source, progress=progress
        )
        owners = [
            (question.problem, prefix) for question, prefix, numbers in rank_jobs for _ in numbers
        ]
        judged = iter(
            self._judge(
                model,
                [problem for problem, _ in owners],
                trajectories,
                source,
                [prefix for _, prefix in owners],
            )
        )
        # `gather` expects one result for each job that `divide` gave out, so answers travel in
        # one list per question.
        by_question = [list(islice(judged, len(numbers))) for _, _, numbers in rank_jobs]
        return [answer for answers in self.world.gather(by_question) for answer in answers]

    def judge(
        self,
        model: LanguageModel,
        problems: Sequence[Problem],
        trajectories: Sequence[Trajectory],
        source: Source = "student",
    ) -> list[Answer]:
        """Judge each trajectory as an answer to the problem at the same index.

        The verifier does not read a stated confidence.
        """
        rank_share = self.world.divide(list(zip(problems, trajectories, strict=True)))
        return self.world.gather(
            self._judge(
                model,
                [problem for problem, _ in rank_share],
                [trajectory for _, trajectory in rank_share],
                source,
                [()] * len(rank_share),
            )
        )

    def _judge(
        self,
        model: LanguageModel,
        problems: Sequence[Problem],
        trajectories: Sequence[Trajectory],
        source: Source,
        prefixes: Sequence[tuple[int, ...]],
    ) -> list[Answer]:
        texts = [
            decode(model, (*prefix, *trajectory.ids))
            for prefix, trajectory in zip(prefixes, trajectories, strict=True)
        ]
        # Truncated answers are failures without a call of the verifier.
        complete = [
            index for index, trajectory in enumerate(trajectories) if not trajectory.truncated
        ]
        read = [
            (self.codec.strip(texts[index]) if self.codec else texts[index], problems[index].answer)
            for index in complete
        ]
        verdicts = dict(zip(complete, self.verifier.judge(read), strict=True))
        return [
            Answer(
                problems[index],
                trajectory.sample,
                source,
                trajectory.prompt,
                trajectory.ids,
                trajectory.truncated,
                texts[index],
                verdicts[index].correct if index in verdicts else False,
                verdicts[index].answer if index in verdicts else "",
                # NaN marks what a sampling program does not report; later stages test for None.
                _none_if_nan(trajectory.logprobs),
                _none_if_nan(trajectory.entropies),
                _known_in_part(trajectory.law_logprobs),
                trajectory.versions,
                trajectory.inherited,
            )
            for index, trajectory in enumerate(trajectories)
        ]


def _none_if_nan(values_T: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """None where the sampling program reports no values."""
    return None if np.isnan(values_T).any() else values_T


def _known_in_part(values_T: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """None where the values of all tokens are unknown."""
    return None if np.isnan(values_T).all() else values_T


def tally(problems: Sequence[Problem], answers: Iterable[Answer]) -> tuple[Counts, Counts]:
    """Count (passed, verdicts) of each problem."""
    index_by_id = {problem.id: index for index, problem in enumerate(problems)}
    passed, verdicts = np.zeros(len(problems), np.int64), np.zeros(len(problems), np.int64)
    for answer in answers:
        if answer.verdict is not None:
            passed[index_by_id[answer.problem.id]] += answer.verdict
            verdicts[index_by_id[answer.problem.id]] += 1
    return passed, verdicts


def truncated_share(answers: Sequence[Answer]) -> float:
    return sum(answer.truncated for answer in answers) / max(1, len(answers))


def tokens_of(answers: Iterable[Answer]) -> int:
    """Tokens that a model reads to sample or score the answers, prompts included."""
    return sum(len(answer.prompt) + len(answer.ids) for answer in answers)
