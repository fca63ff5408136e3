"""Writers of a job's answers: a model sampled here, or an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from trainer.spec import Context, EndpointTeacher, Sampling
from trainer.text.calibration.codec import Codec
from trainer.text.language.models import LanguageModel
from trainer.text.problems import Problem
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import question_text
from trainer.text.teachers.contexts import (
    PromptFormatter,
    privileged_text,
    prompt_text,
    require_privileged,
)
from trainer.text.teachers.endpoint import Endpoint
from trainer.text.verifiers import Verifier

AnswerLine = dict[str, Any]


class AnswerWriter(Protocol):
    def answers(self, problems: Sequence[Problem]) -> list[list[AnswerLine]]:
        """The judged answers to each problem, as the lines of a result have them (`tallies`).

        Answers include their texts.
        """


@dataclass(frozen=True)
class ModelAnswerWriter:
    """A network loaded here; an answer's noise follows from (seed, problem, sample index)."""

    language_model: LanguageModel
    sampler: SamplerAndJudge
    context: Context
    sampling: Sampling
    noise: Noise
    samples: int

    def answers(self, problems: Sequence[Problem]) -> list[list[AnswerLine]]:
        require_privileged(self.context, problems)
        longest = self.sampling.max_new_tokens
        questions = self.sampler.questions(self.language_model, problems, longest)
        prompts = PromptFormatter(self.language_model, self.context, longest)
        questions = [
            replace(
                question,
                prompt=prompts.prompt(question, privileged_text(self.context, question.problem)),
            )
            for question in questions
        ]
        numbers = tuple(range(self.samples))
        answers = self.sampler.sample_answers(
            self.language_model, questions, [numbers] * len(questions), self.sampling, self.noise
        )
        lines = [
            answer_line(
                answer.verdict,
                answer.truncated,
                len(answer.ids),
                answer.read,
                answer.text,
                self.sampler.codec,
            )
            for answer in answers
        ]
        return [lines[first : first + self.samples] for first in range(0, len(lines), self.samples)]


@dataclass(frozen=True)
class EndpointAnswerWriter:
    """An endpoint; its answers follow from no seed and repeat only where they are cached."""

    endpoint: Endpoint
    teacher: EndpointTeacher
    template: str
    sampling: Sampling
    verifier: Verifier
    codec: Codec | None

    def answers(self, problems: Sequence[Problem]) -> list[list[AnswerLine]]:
        require_privileged(self.teacher.context, problems)
        context = self.teacher.context
        questions = [
            prompt_text(
                context,
                question_text(self.template, problem, self.codec),
                privileged_text(context, problem),
            )
            for problem in problems
        ]
        prompts = [
            (*problem.history, ("user", text))
            for problem, text in zip(problems, questions, strict=True)
        ]
        completions = self.endpoint.write(prompts, self.sampling)
        written = [completion.written(self.teacher.reasoning) for completion in completions]
        texts = [self.codec.strip(text) if self.codec else text for text in written]
        verdicts = self.verifier.judge(
            list(zip(texts, [problem.answer for problem in problems], strict=True))
        )
        return [
            [
                answer_line(
                    # `sample_answers` does the same for models: a cut answer fails whatever it
                    # says.
                    # Without an answer there is nothing to tell.
                    None if completion.set_aside else not completion.truncated and verdict.correct,
                    completion.truncated,
                    completion.tokens,
                    verdict.answer,
                    text,
                    self.codec,
                )
                | ({"set_aside": completion.set_aside} if completion.set_aside else {})
            ]
            for completion, text, verdict in zip(completions, written, verdicts, strict=True)
        ]


def answer_line(
    verdict: bool | None, truncated: bool, tokens: int, read: str, text: str, codec: Codec | None
) -> AnswerLine:
    """One answer as a line of the result has it. A truncated answer counts as a failure."""
    line: AnswerLine = {
        "verdict": verdict,
        "truncated": truncated,
        "tokens": tokens,
        "read": read,
        "text": text,
    }
    if codec is not None:
        reading = codec.read(text)
        line |= {"confidence": reading.value, "malformed": reading.problem}
    return line
