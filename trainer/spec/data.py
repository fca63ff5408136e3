"""Where problems come from, how their columns are read, and how an answer is judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainer.spec.base import DataURI, Section, option
from trainer.spec.confidence import Confidence, NoConfidence

Family = Literal["add", "sub", "msum", "paren", "mul", "word"]
Level = Annotated[int, Field(ge=1, le=3)]


class Columns(Section):
    """Which column of a data file holds what."""

    question: str = option(
        "question",
        title="Question column",
        help="The text that the student is asked.",
        min_length=1,
    )
    answer: str = option(
        "answer",
        title="Answer column",
        help="The reference answer. GSM8K's `#### 42` ending is recognised.",
        min_length=1,
    )
    choices: str | None = option(
        None,
        title="Choices column",
        help="A list, for multiple choice: it is put below the question, and the answer becomes a letter.",
    )
    solution: str | None = option(
        None, title="Solution column", help="A worked solution, if there is one."
    )
    id: str | None = option(
        None,
        title="Id column",
        help="A stable name of each problem. Without one, the content names it.",
    )
    domain: str | None = option(
        None, title="Domain column", help="Groups the pass rates of the evaluation."
    )
    difficulty: str | None = option(
        None, title="Difficulty column", help="Groups the pass rates of the evaluation."
    )


class ArithmeticProblems(Section):
    """Graded arithmetic made on the spot: every level of every family, with exact answers."""

    kind: Literal["arithmetic"] = "arithmetic"
    families: tuple[Family, ...] = option(
        ("add", "sub", "msum", "paren"), title="Families", help="Kinds of arithmetic.", min_length=1
    )
    levels: tuple[Level, ...] = option(
        (1, 2, 3), title="Levels", help="1 is the easiest.", min_length=1
    )
    count: int = option(
        400,
        title="Problems",
        help="How many problems, spread evenly over families and levels.",
        ge=1,
        le=1_000_000,
    )
    seed: int = option(
        0,
        title="Problem seed",
        help="Draws the problems. Independent of the run's seed.",
        ge=0,
        expert=True,
    )


class FileProblems(Section):
    """Problems from an uploaded data set, a local file or the hub."""

    kind: Literal["file"] = "file"
    path: DataURI = option(
        title="Data",
        help="`dataset:<name>@<fingerprint>`, `file:<path>` or `hub:<org>/<name>@<revision>`. A file, or a folder of data files.",
    )
    format: Literal["auto", "jsonl", "csv", "parquet"] = option(
        "auto", title="Format", help="auto tells it from the file's name and content.", expert=True
    )
    split: str | None = option(
        None,
        title="Split",
        help="Which part of a folder or hub data set: train, test, … Needed only where there are several.",
        expert=True,
    )
    shape: Literal["columns", "auto"] = option(
        "columns",
        title="Columns are",
        help="columns: as named below. auto: told by their names, as those of GSM8K, MATH-500, AIME and MMLU are.",
        expert=True,
    )
    columns: Columns = option(title="Columns", help="Which column holds what.", factory=Columns)
    limit: int | None = option(
        None,
        title="At most",
        help="Use only that many problems, chosen by the problem seed.",
        unit="problems",
        ge=1,
    )
    seed: int = option(
        0,
        title="Problem seed",
        help="Chooses the problems when there is a limit or a split.",
        ge=0,
        expert=True,
    )


class SplitProblems(Section):
    """A part of the training data held out: it is never trained on."""

    kind: Literal["split"] = "split"
    share: float = option(
        0.1,
        title="Held-out share",
        help="Share of the training data that is kept for evaluation.",
        gt=0,
        lt=1,
    )


TrainProblems = Annotated[ArithmeticProblems | FileProblems, Field(discriminator="kind")]
EvalProblems = Annotated[
    ArithmeticProblems | FileProblems | SplitProblems, Field(discriminator="kind")
]


class ExactVerifier(Section):
    """The answer's text must equal the reference, white space aside."""

    kind: Literal["exact"] = "exact"
    after: str = option(
        "",
        title="Answer follows",
        help="The answer is what follows the last such text, as in `Answer:`; empty reads all.",
    )
    ignore_case: bool = option(False, title="Ignore case", help="Treat A and a alike.")


class NumericVerifier(Section):
    """The last number of the answer must equal the reference within a tolerance."""

    kind: Literal["numeric"] = "numeric"
    tolerance: float = option(
        0.0, title="Relative tolerance", help="0 asks for equality of the decimal numbers.", ge=0
    )


class ChoiceVerifier(Section):
    """The letter that the answer chooses must be the reference's."""

    kind: Literal["choice"] = "choice"
    choices: str = option(
        "ABCD", title="Choices", help="The letters that may be chosen.", min_length=2, max_length=26
    )

    @field_validator("choices")
    @classmethod
    def _different_letters(cls, choices: str) -> str:
        if not (choices.isascii() and choices.isalpha()) or len(set(choices.upper())) != len(
            choices
        ):
            raise ValueError("must be different letters from A to Z, as in ABCD")
        return choices.upper()


class MathVerifier(Section):
    """The answer must be mathematically equal to the reference (LaTeX or plain), as math-verify
    judges it.
    """

    kind: Literal["math"] = "math"


Verifier = Annotated[
    ExactVerifier | NumericVerifier | ChoiceVerifier | MathVerifier, Field(discriminator="kind")
]


class Data(Section):
    """The problems of a run."""

    train: TrainProblems = option(
        title="Training problems", help="The pool that is distilled on.", factory=ArithmeticProblems
    )
    evaluation: EvalProblems = option(
        title="Held-out problems",
        help="Measured during the run, never trained on.",
        factory=SplitProblems,
    )
    retained: Annotated[ArithmeticProblems | FileProblems, Field(discriminator="kind")] | None = (
        option(
            None,
            title="Retained skill",
            help="A skill outside the pool, measured before and after: how much is forgotten.",
        )
    )
    prompt: str = option(
        "{question}",
        title="Prompt",
        help="What is asked; `{question}` stands for the problem's question.",
        expert=True,
    )
    verifier: Verifier = option(
        title="Verifier", help="How an answer is judged.", factory=NumericVerifier
    )
    confidence: Confidence = option(
        title="Confidence", help="Whether answers state how sure they are.", factory=NoConfidence
    )
    verifier_seconds: float = option(
        5.0,
        title="Time limit per verdict",
        help="After this the verdict is “could not tell”.",
        unit="s",
        gt=0,
        le=60,
        expert=True,
    )

    @field_validator("prompt")
    @classmethod
    def _asks_the_question(cls, prompt: str) -> str:
        if "{question}" not in prompt:
            raise ValueError("must contain {question}, or the student is never asked anything")
        return prompt
