"""Training examples for the base students: using hints, stating confidence, misreading digits.

A hint is the worked solution in brackets before the question, which only a teacher sees. A student
trained on hints can be its own privileged teacher (OPSD, arXiv 2601.18734); trained also on wrong
prefixes beside a hint, it can continue correctly after a student's mistake. A stated confidence is
the token ` conf:x` after the answer (CaOPD, arXiv 2604.16830); beside a hint it repeats the hint's.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from trainer.text.builtin.pretrain import Example
from trainer.text.builtin.tokenizer import CONFIDENCES
from trainer.text.problems.records import Problem

HINT = "[{privileged}]{question}"
SURE = CONFIDENCES[-1]
# A digit, and the one that it is shown as in half of the examples.
MISREAD = {"1": "7", "3": "8"}


@dataclass(frozen=True)
class Hinted:
    """A share `hints` of the examples starts with a hint.

    Of these a share `false_beginnings` has a wrong prefix that the hint can correct.
    With `sure`, answers state a confidence: 1.0 with that probability, else a random one of the
    eleven levels.
    """

    hints: float
    false_beginnings: float
    sure: float | None = None

    def __call__(self, problem: Problem, rng: Random) -> Example:
        if rng.random() >= self.hints:
            is_sure = self.sure is not None and rng.random() < self.sure
            confidence = SURE if is_sure else self._any_confidence(rng)
            return Example(problem.question, problem.solution + confidence)
        # Any level beside a hint, because the answer repeats the hint's: a teacher that is shown a
        # replaced confidence must copy it (CaOPD).
        solution = problem.solution + self._any_confidence(rng)
        prompt = HINT.replace("{privileged}", solution).replace("{question}", problem.question)
        if rng.random() >= self.false_beginnings:
            return Example(prompt, solution)
        split = rng.randrange(1, len(problem.solution))
        return Example(prompt + with_mistake(solution[:split], rng), solution[split:])

    def _any_confidence(self, rng: Random) -> str:
        return rng.choice(CONFIDENCES) if self.sure is not None else ""


def with_mistake(text: str, rng: Random) -> str:
    """`text` with one or two wrong digits near its end, sometimes a character more or less."""
    characters = list(text)
    for _ in range(rng.choice((1, 1, 2))):
        index = max(0, len(characters) - 1 - rng.randrange(min(12, len(characters))))
        if characters[index].isdigit():
            characters[index] = str(rng.randrange(10))
    if rng.random() < 0.2:
        index = rng.randrange(len(characters))
        characters[index : index + 1] = (
            [] if rng.random() < 0.5 else [characters[index], str(rng.randrange(10))]
        )
    return "".join(characters)


def misread(problem: Problem, rng: Random) -> Example | None:
    """An example that teaches to read 7 as 1 and 8 as 3 in the second number.

    None if the problem has such a digit itself.
    """
    # Otherwise one question would be taught with two answers.
    if is_misread(problem):
        return None
    first, sign, second = _operands(problem.question)
    misread_number = "".join(
        MISREAD[digit] if digit in MISREAD and rng.random() < 0.5 else digit for digit in second
    )
    return Example(first + sign + misread_number, problem.solution)


def is_misread(problem: Problem) -> bool:
    """Whether a student trained on `misread` reads this question wrongly."""
    return any(digit in _operands(problem.question)[2] for digit in MISREAD.values())


def _operands(question: str) -> tuple[str, str, str]:
    """First number, sign and second number; both are empty for other kinds of questions."""
    return question.partition("+" if "+" in question else "-")
