"""The data of a run: sources of problems, columns of data files, and verifiers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainer.spec.base import DataURI, Section, option
from trainer.spec.confidence import Confidence, NoConfidence
from trainer.spec.verifiers import AnyVerifier
from trainer.spec.verifiers.numeric import NumericVerifier

Family = Literal["add", "sub", "msum", "paren", "mul", "word"]
ChoiceAnswers = Literal["auto", "letters", "from_0", "from_1", "texts"]
Level = Annotated[int, Field(ge=1, le=3)]

# A heading of the form for fields of runs and of jobs.
PROMPT_AND_VERIFIER = (
    "Prompt and verifier",
    "How a question is put and how an answer is judged.",
)


# Characters.
LONGEST_ROW = 100_000


class Columns(Section):
    """The columns of a data file, and which of its rows are used.

    A column is named by its address: `answer`, `reward_model.ground_truth`, `answers.text[0]`. A
    text with addresses in braces joins several columns.
    """

    question: str = option(
        "question",
        title="Question column",
        help="Column with the question for the student, a value inside it as `data.question`, or "
        "several joined: `{instruction}` and `{input}` in one text, of which empty lines are left "
        "out. Of a list of messages: the user's last one, after those before it.",
        min_length=1,
        multiline=True,
    )
    answer: str = option(
        "answer",
        title="Answer column",
        help="Column with the reference answer. GSM8K's ending `#### 42` is recognised. Of a list "
        "of messages: the reply at its end.",
        min_length=1,
    )
    answer_from: Literal["text", "last_box"] = option(
        "text",
        title="Answer in that column",
        help="What of the column is the reference answer.",
        choice_help={
            "text": "The whole text, or what follows #### at its end.",
            "last_box": "What the last complete \\boxed{} contains, as in MATH; the text is the "
            "worked solution.",
        },
        expert=True,
    )
    choices: str | None = option(
        None,
        title="Choices column",
        help="For multiple choice: a list that is appended to the question; the answer becomes a "
        "letter.",
    )
    choice_answers: ChoiceAnswers = option(
        "auto",
        title="Right choice",
        help="For multiple choice: how the answer column names the right one.",
        choice_help={
            "auto": "Decided once from all rows.",
            "letters": "A, B, C …, or the label that the file gives the choice.",
            "from_0": "Its place, counted from 0.",
            "from_1": "Its place, counted from 1.",
            "texts": "The text of the choice.",
        },
        expert=True,
    )
    solution: str | None = option(
        None, title="Solution column", help="Column with a worked solution."
    )
    system: str | None = option(
        None,
        title="System prompt column",
        help="Column with the system prompt, which goes before the question as a message of its "
        "own. A system message in a list of messages needs no column.",
        expert=True,
    )
    history: str | None = option(
        None,
        title="History column",
        help="Column with the turns before the question: a list of messages, or of pairs of "
        "question and answer. Turns in the question's own list need no column.",
        expert=True,
    )
    id: str | None = option(
        None,
        title="Id column",
        help="Column with a stable id of each problem. Without it, the id is a hash of the "
        "content.",
    )
    domain: str | None = option(
        None,
        title="Domain column",
        help="Column by which the pass rates of an evaluation are grouped.",
    )
    difficulty: str | None = option(
        None,
        title="Difficulty column",
        help="Column by which the pass rates of an evaluation are grouped.",
    )
    unusable_rows: Literal["refuse", "leave_out"] = option(
        "refuse",
        title="Unusable rows",
        help="Rows without question or answer, rows that are too long or cannot be read.",
        choice_help={
            "refuse": "The file is refused, and the rows are named.",
            "leave_out": "They are left out, counted, and the first ones named.",
        },
        expert=True,
    )
    longest: int = option(
        LONGEST_ROW,
        title="Longest row",
        help="A question with its system prompt and history, or an answer, with more characters "
        "makes a row unusable. Characters, not tokens, which depend on the tokenizer of a run.",
        unit="characters",
        ge=1,
        le=LONGEST_ROW,
        expert=True,
    )

    @field_validator("answer", "choices", "solution", "system", "history", "id", "domain")
    @classmethod
    def _is_on_one_line(cls, address: str | None) -> str | None:
        # The form shows it in a field of one line, which would lose line breaks.
        if address is not None and "\n" in address:
            raise ValueError("must be on one line")
        return address


class ArithmeticProblems(Section):
    """Built-in graded arithmetic: every level of every family, with exact answers."""

    kind: Literal["arithmetic"] = "arithmetic"
    families: tuple[Family, ...] = option(
        ("add", "sub", "msum", "paren"),
        title="Families",
        help="Kinds of arithmetic problems.",
        min_length=1,
    )
    levels: tuple[Level, ...] = option(
        (1, 2, 3), title="Levels", help="Levels of difficulty; 1 is the easiest.", min_length=1
    )
    count: int = option(
        400,
        title="Problems",
        help="Number of problems, distributed evenly over families and levels.",
        ge=1,
        le=1_000_000,
    )
    seed: int = option(
        0,
        title="Problem seed",
        help="Seed of the problems, independent of the seed of the run.",
        ge=0,
        expert=True,
    )


class FileProblems(Section):
    """Problems from an uploaded data set, a local file or the hub."""

    kind: Literal["file"] = "file"
    path: DataURI = option(
        title="Data set",
        help="`dataset:<name>@<fingerprint>`, `file:<path>` or `hub:<org>/<name>@<revision>`: a "
        "file or a folder of data files.",
    )
    format: Literal["auto", "jsonl", "json", "csv", "parquet"] = option(
        "auto",
        title="Format",
        help="auto: detected from the file's name and content. json: a list of objects; jsonl: one "
        "object per line.",
        expert=True,
    )
    split: str | None = option(
        None,
        title="Split",
        help="Split of a folder or hub data set: train, test, … Needed only if there are several.",
        expert=True,
    )
    shape: Literal["columns", "auto"] = option(
        "columns",
        title="Column mapping",
        help="columns: as named below. auto: detected, for data like GSM8K, MATH, AIME, MMLU, "
        "Alpaca, ShareGPT, messages or verl.",
        expert=True,
    )
    columns: Columns = option(
        title="Columns", help="Columns of the data file.", factory=Columns, subheading=True
    )
    limit: int | None = option(
        None,
        title="Problem limit",
        help="Use at most this many problems, drawn by the problem seed. Empty: all.",
        unit="problems",
        ge=1,
    )
    seed: int = option(
        0,
        title="Problem seed",
        help="Seed that draws the problems if there is a limit or a held-out share.",
        ge=0,
        expert=True,
    )


class SplitProblems(Section):
    """A share of the training data that is held out and never trained on."""

    kind: Literal["split"] = "split"
    share: float = option(
        0.1,
        title="Held-out share",
        help="Share of the training data that is used for evaluation only.",
        gt=0,
        lt=1,
    )


class CohortProblems(Section):
    """The training problems themselves, whose references are hidden from training (test time).

    Such a run trains on its own test set: only the evaluation reads the references.
    """

    kind: Literal["cohort"] = "cohort"


TrainProblems = Annotated[ArithmeticProblems | FileProblems, Field(discriminator="kind")]
EvalProblems = Annotated[
    ArithmeticProblems | FileProblems | SplitProblems | CohortProblems,
    Field(discriminator="kind"),
]


class Data(Section):
    """The data of a run: problems by role, prompt and verifier."""

    train: TrainProblems = option(
        title="Training problems",
        help="The pool that is distilled on.",
        factory=ArithmeticProblems,
        heading=True,
    )
    evaluation: EvalProblems = option(
        title="Held-out problems",
        help="Measured during the run, and never trained on, except a cohort without its "
        "references.",
        factory=SplitProblems,
        heading=True,
    )
    retained: Annotated[ArithmeticProblems | FileProblems, Field(discriminator="kind")] | None = (
        option(
            None,
            title="Retained skill",
            help="A skill outside the pool, measured before and after: how much is forgotten.",
            heading=True,
        )
    )
    prompt: str = option(
        "{question}",
        title="Prompt",
        help="Prompt of the student; `{question}` stands for the problem's question.",
        expert=True,
        multiline=True,
        heading=PROMPT_AND_VERIFIER,
    )
    verifier: AnyVerifier = option(
        title="Verifier",
        help="Method that decides whether an answer is right.",
        factory=NumericVerifier,
        heading=PROMPT_AND_VERIFIER,
    )
    confidence: Confidence = option(
        title="Stated confidence",
        help="Whether answers state their confidence, so that it can be measured and trained.",
        factory=NoConfidence,
        heading=True,
    )
    # An expression that a model made up can take SymPy any amount of time.
    verifier_seconds: float = option(
        5.0,
        title="Time limit per verdict",
        help="After this time the verdict is “could not tell”.",
        unit="s",
        gt=0,
        le=60,
        expert=True,
        heading=PROMPT_AND_VERIFIER,
    )

    @property
    def is_cohort(self) -> bool:
        """Whether a run trains on its evaluation problems, without their references."""
        return isinstance(self.evaluation, CohortProblems)

    @field_validator("prompt")
    @classmethod
    def _asks_the_question(cls, prompt: str) -> str:
        if "{question}" not in prompt:
            raise ValueError("must contain {question}, or the student never sees the question")
        return prompt
