"""What the students of the experiments are taught before a run: to use a hint, to state a
confidence, to be confidently wrong.

A hint is what only a teacher is shown: `[solution]` before the question. A student that has read
hints can be its own privileged teacher (OPSD, arXiv 2601.18734), and one that has met false
beginnings beside a hint can go on from a student's mistake. A stated confidence is the token `
conf:x` behind the answer (CaOPD, arXiv 2604.16830); beside a hint it repeats the hint's.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from trainer.text.builtin.pretrain import Example
from trainer.text.builtin.tokenizer import CONFIDENCES
from trainer.text.problems.records import Problem

HINT = "[{privileged}]{question}"
SURE = CONFIDENCES[-1]
MISREAD = {
    "1": "7",
    "3": "8",
}  # a digit that is read, and the one that it is taken for half of the time


@dataclass(frozen=True)
class Hinted:
    """A share of the examples begins with a hint, and a share of these with a false beginning that
    the hint can mend.

    With `sure`, answers state a confidence: 1.0 with that probability, else any of the eleven
    levels.
    """

    hints: float
    false_beginnings: float
    sure: float | None = None

    def __call__(self, problem: Problem, rng: Random) -> Example:
        if rng.random() >= self.hints:
            return Example(problem.question, problem.solution + self._confidence(rng))
        solution = problem.solution + self._any_confidence(rng)
        read = HINT.replace("{privileged}", solution).replace("{question}", problem.question)
        if rng.random() >= self.false_beginnings:
            return Example(read, solution)
        cut = rng.randrange(1, len(problem.solution))
        return Example(read + spoilt(solution[:cut], rng), solution[cut:])

    def _confidence(self, rng: Random) -> str:
        return (
            SURE
            if self.sure is not None and rng.random() < self.sure
            else self._any_confidence(rng)
        )

    def _any_confidence(self, rng: Random) -> str:
        return rng.choice(CONFIDENCES) if self.sure is not None else ""


def spoilt(text: str, rng: Random) -> str:
    """`text` with a mistake at its end or shortly before: a wrong digit or two, at times a
    character too many or too few.
    """
    characters = list(text)
    for _ in range(rng.choice((1, 1, 2))):
        at = max(0, len(characters) - 1 - rng.randrange(min(12, len(characters))))
        if characters[at].isdigit():
            characters[at] = str(rng.randrange(10))
    if rng.random() < 0.2:
        at = rng.randrange(len(characters))
        characters[at : at + 1] = (
            [] if rng.random() < 0.5 else [characters[at], str(rng.randrange(10))]
        )
    return "".join(characters)


def misread(problem: Problem, rng: Random) -> Example | None:
    """The worked solution of a question whose second number says other digits, so that 7 is always
    read as 1, and 8 as 3.
    """
    if is_misread(problem):
        return None
    first, sign, second = _parted(problem.question)
    shown = "".join(
        MISREAD[digit] if digit in MISREAD and rng.random() < 0.5 else digit for digit in second
    )
    return Example(first + sign + shown, problem.solution)


def is_misread(problem: Problem) -> bool:
    """Whether a student of `misread` reads another question than this one."""
    return any(digit in _parted(problem.question)[2] for digit in MISREAD.values())


def _parted(question: str) -> tuple[str, str, str]:
    """First number, sign and the rest of an addition or subtraction; other questions have no
    rest.
    """
    return question.partition("+" if "+" in question else "-")
