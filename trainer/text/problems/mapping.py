"""From a row of a data file to a problem, by the column mapping.

A column is named by its address (`addresses`), several by a template (`column_templates`). Of a
list of messages the question is the user's last one, and the answer is the reply to it
(`conversations`). GSM8K writes `worked solution … #### 1,234` into one column: the answer is what
follows `####`, the rest is the solution. MATH marks the answer in the solution by `\\boxed{}`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from trainer.spec import Columns
from trainer.text.problems.benchmarks import letter_of_place
from trainer.text.problems.records import Message, Problem, Row, UnusableRowError
from trainer.text.problems.row_reader import TOO_LONG, RowReader

# Characters of an answer that a teacher has written, and of the id of a problem.
LONGEST_ANSWER, LONGEST_ID = 8_000_000, 64
BOX = re.compile(r"\\f?boxed\s*(?=\{)")
BRACE = re.compile(r"[{}]")


def problem_of(row: Row, columns: Columns, name: str) -> Problem:
    """The problem in a row of the file `name`.

    `domain` and `difficulty` are whole, of any length. Raises UnusableRowError for a missing
    question or answer column and for text that cannot be stored or has more characters than
    `columns.longest`. An empty question or answer is allowed here, because the caller counts them,
    and so is a missing optional column.
    """
    reader = RowReader(row, name)
    turns, question = reader.question(columns.question)
    answer, solution = _answer_and_solution(
        reader.answer(columns.answer), reader.optional(columns.solution), columns
    )
    if columns.choices is not None:
        question, answer = reader.multiple_choice(
            question, answer, columns.choices, columns.choice_answers
        )
    elif columns.choice_answers in ("from_0", "from_1"):
        # The choices are written in the question.
        answer = letter_of_place(answer, columns.choice_answers)
    history = _history(reader, columns, turns)
    _check_length("question", question, history, columns.longest, reader.where)
    _check_length("answer", answer, (), columns.longest, reader.where)
    id = _shortened_id(" ".join(reader.optional(columns.id).split()))
    return Problem(
        question=question,
        answer=answer,
        solution=solution,
        id=id or content_id(question, answer, history),
        domain=" ".join(reader.optional(columns.domain).split()),
        difficulty=" ".join(reader.optional(columns.difficulty).split()),
        history=history,
    )


def asked_and_answer(row: Row, columns: Columns, name: str) -> tuple[str, str]:
    """What a row asks, as `Problem.asked`, and its answer as it is.

    Raises UnusableRowError as `problem_of` does.
    """
    # What a teacher has thought may be longer than what a problem may ask.
    reader = RowReader(row, name, LONGEST_ANSWER)
    turns, question = reader.question(columns.question)
    history = _history(reader, columns, turns)
    return Problem("", question, "", history=history).asked, reader.answer(columns.answer)


def choice_pair(row: Row, columns: Columns, name: str) -> tuple[Any, str]:
    """The choices of a row and its answer, for deciding how the file names the right choice.

    Raises UnusableRowError as `problem_of` does.
    """
    reader = RowReader(row, name)
    return reader.value(columns.choices or ""), reader.answer(columns.answer)


def content_id(question: str, answer: str, history: Sequence[Message] = ()) -> str:
    """The id of a problem without one: the same content has the same id in every file."""
    texts = [question, answer, *(text for message in history for text in message)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def gsm8k_parts(text: str) -> tuple[str, str] | None:
    """The solution and the answer of a text whose last line is `#### answer`; else None."""
    solution, _, last_line = text.rstrip().rpartition("\n")
    mark, answer = last_line.lstrip()[:4], last_line.lstrip()[4:]
    return (solution, answer.strip()) if mark == "####" else None


def last_box(text: str) -> str | None:
    """What the last complete `\\boxed{…}` of a text contains; None if there is none."""
    openings = {match.end() for match in BOX.finditer(text)}
    open_braces: list[int] = []
    box: tuple[int, int] | None = None
    for match in BRACE.finditer(text) if openings else ():
        index = match.start()
        before = text[max(0, index - 2) : index]
        if before.endswith("\\") and before != "\\\\":
            # `\{` is a brace to be shown.
            continue
        if match[0] == "{":
            open_braces.append(index)
        elif open_braces and (start := open_braces.pop()) in openings:
            box = max(box or (start, index), (start, index))
    return text[box[0] + 1 : box[1]].strip() if box else None


def _history(reader: RowReader, columns: Columns, turns: Sequence[Message]) -> tuple[Message, ...]:
    """The system prompt, then the turns; a system column replaces that of the conversation."""
    messages = (*reader.history(columns.history), *turns)
    in_conversation = "\n\n".join(
        message.text for message in messages if message.role == "system" and message.text
    )
    system = reader.optional(columns.system).strip() or in_conversation
    rest = tuple(message for message in messages if message.role != "system")
    return (Message("system", system), *rest) if system else rest


def _answer_and_solution(answer: str, solution: str, columns: Columns) -> tuple[str, str]:
    if columns.answer_from == "last_box":
        # Without a box the answer is empty, and the row counts as one without an answer.
        return last_box(answer) or "", solution.strip() or answer.strip()
    if not (parts := gsm8k_parts(answer)):
        return answer.strip(), solution.strip()
    # Commas between thousands only: `1,234` becomes `1234`.
    short = re.sub(r"(?<=\d),(?=\d{3})", "", parts[1])
    return short, solution.strip() or parts[0].strip()


def _check_length(
    role: str, text: str, history: Sequence[Message], longest: int, where: str
) -> None:
    length = len(text) + sum(len(message.text) for message in history)
    if length > longest:
        with_history = " with its history" if history else ""
        raise UnusableRowError(
            f"the {role} in {where} has {length:,} characters{with_history}; "
            f"at most {longest:,} are read",
            TOO_LONG,
        )


def _shortened_id(id: str) -> str:
    """An id of at most LONGEST_ID characters; different ids stay different."""
    if len(id) <= LONGEST_ID:
        return id
    digest = hashlib.sha256(id.encode()).hexdigest()[:16]
    return f"{id[: LONGEST_ID - len(digest) - 1]}…{digest}"
