"""Questions, which are problems with their prompts, and judged answers to them.

Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.text.calibration.codec import Codec
from trainer.text.language.chat import prompt_ids
from trainer.text.language.text_models import TextModel
from trainer.text.problems import Problem
from trainer.text.rollouts.records import Source


@dataclass(frozen=True)
class Question:
    """A problem with its prompt.

    `text` is the last message that `prompt` encodes, before any chat template; the messages before
    it are `problem.history`.
    """

    problem: Problem
    prompt: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Answer:
    """A judged answer.

    `read` is the answer that the verifier extracted from `text`; `source` names its author.
    `logprobs` and `entropies` [T] are the author's at temperature 1, `sampled_logprobs` [T] are
    under the distribution that the student sampled from, NaN for tokens of others, and `versions`
    are those of the weights that wrote the segments. All are None or empty where unknown. The first
    `inherited` tokens are those of another answer, which it branches from.
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
    inherited: int = 0

    @property
    def own_length(self) -> int:
        """Tokens that were sampled for this answer and no other."""
        return len(self.ids) - self.inherited


def encoded(
    language_model: TextModel, template: str, problem: Problem, codec: Codec | None
) -> Question:
    """Format and encode a problem's prompt. Raises ModelError if the model cannot read it."""
    text = question_text(template, problem, codec)
    return Question(problem, prompt_ids(language_model, text, problem.history), text)


def question_text(template: str, problem: Problem, codec: Codec | None) -> str:
    """The problem in the prompt template; with a `codec` it asks for a stated confidence."""
    text = template.replace("{question}", problem.question)
    return codec.instruction(text) if codec else text
