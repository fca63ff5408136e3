"""Which problems of a source are used: limits, held-out shares and repeated questions.

Every choice depends on the seed and the problem only, never on the order of the file: a hash of
(seed, question) ranks the problems, and the lowest ranks are taken. All copies of a question are on
the same side of a split.
"""

from __future__ import annotations

import hashlib
import heapq
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from trainer.text.problems.records import Problem, ProblemError

# A problem with the number of its row, which messages name.
Numbered = tuple[int, Problem]
# The same question often differs by these signs in two data sets.
TYPOGRAPHY = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "×": "*", "\u00a0": " "}
)
NAMED = 5


def normalised(question: str) -> str:
    """The question without case, extra white space, typographic signs and final punctuation."""
    text = unicodedata.normalize("NFC", question).translate(TYPOGRAPHY).casefold()
    return " ".join(text.split()).rstrip(" .?!")


def rank(seed: int, purpose: str, question: str) -> float:
    """A number in [0, 1) that depends on (seed, purpose, question), uniformly distributed."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{normalised(question)}".encode()).digest()
    # 48 bits, because a float holds no more than 53 exactly.
    return int.from_bytes(digest[:6], "big") / 2**48


def sampled(problems: Iterable[Numbered], limit: int, seed: int) -> list[Numbered]:
    """At most `limit` of the problems in their order, with at most `limit` of them in memory."""
    heap: list[tuple[float, int, Numbered]] = []
    for index, numbered in enumerate(problems):
        # Negated, so that the first of the heap is the highest rank, which is dropped next. The
        # index decides between copies of a question and is unique, so problems are never compared.
        entry = (-rank(seed, "limit", numbered[1].asked), -index, numbered)
        if len(heap) < limit:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    return [numbered for _, _, numbered in sorted(heap, key=lambda entry: -entry[1])]


def split(
    problems: Iterable[Problem], share: float, seed: int
) -> tuple[list[Problem], list[Problem]]:
    """(training, held out): about `share` of the questions are held out, none is in both."""
    training: list[Problem] = []
    held_out: list[Problem] = []
    for problem in problems:
        (held_out if rank(seed, "split", problem.asked) < share else training).append(problem)
    return training, held_out


def check_disjoint(train: Iterable[Problem], other_problems: Iterable[Problem], role: str) -> None:
    """Raise ProblemError, naming the questions, if `other` asks what `train` asks."""
    train_by_question = {normalised(problem.asked): problem for problem in train}
    pairs = [
        (problem, train_by_question[key])
        for problem in other_problems
        if (key := normalised(problem.asked)) in train_by_question
    ]
    if pairs:
        examples = "; ".join(
            f"{excerpt(problem.question)} ({problem.id} and {twin.id})"
            for problem, twin in pairs[:NAMED]
        )
        more = f"; and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
        raise ProblemError(
            f"{len(pairs)} of the {role} problems are training problems too, so they would measure "
            f"memory: {examples}{more}. Remove them from one of the two, or hold out a "
            "share of the "
            "training problems instead."
        )


def excerpt(text: str, length: int = 60) -> str:
    line = " ".join(text.split())
    return f"“{line[:length]}…”" if len(line) > length else f"“{line}”"


def without_repeats(
    problems: Iterable[Numbered],
    has_ids: bool,
    leave_out: Callable[[str, int], None],
    refuse: bool = True,
) -> Iterator[Problem]:
    """Yield each id once; `leave_out(reason, row)` is told of the others.

    If the file has an id column (`has_ids`), a repeated id raises ProblemError where it shall
    (`refuse`).
    """
    # A survey reads files of millions of rows in little memory: 8 bytes of each id are kept.
    row_by_id: dict[int, int] = {}
    for row, problem in problems:
        id = int.from_bytes(hashlib.blake2b(problem.id.encode(), digest_size=8).digest())
        if id not in row_by_id:
            row_by_id[id] = row if has_ids and refuse else 0
            yield problem
        elif has_ids and refuse:
            raise ProblemError(
                f"rows {row_by_id[id]} and {row} have the same id {excerpt(problem.id)}; "
                "make ids unique, map no id column, or set unusable rows to leave out"
            )
        else:
            leave_out("same id as an earlier row" if has_ids else "repeats an earlier row", row)
