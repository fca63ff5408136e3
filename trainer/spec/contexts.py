"""What a teacher reads beside the question, and the thinking mode of a network's prompts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainer.spec.base import OPSD, Section, option

Thinking = Literal["as_the_template", "on", "off"]


def thinking_mode() -> Thinking:
    """Declare the setting of a network's thinking mode."""
    field: Thinking = option(
        "as_the_template",
        title="Thinking mode",
        help="Value of `enable_thinking` for the chat template, for models with a thinking mode.",
        expert=True,
        paper=OPSD,
    )
    return field


class PlainContext(Section):
    """The teacher reads the same prompt as the student."""

    kind: Literal["plain"] = "plain"


class PrivilegedContext(Section):
    """The teacher also reads a text that the student does not see."""

    kind: Literal["privileged"] = "privileged"
    # OPSD shows the whole worked solution, not only its answer.
    shows: Literal["solution", "answer", "demonstration", "feedback"] = option(
        "solution",
        title="Privileged text",
        help="solution: the worked solution. answer: the reference answer. demonstration: a right "
        "answer of the student in this step, "
        "else the solution. feedback: the student's answer with its verdict.",
        paper=OPSD,
    )
    template: str = option(
        "{question}\n\nHere is a reference solution:\n{privileged}\n\nUnderstand it, then solve "
        "the problem in your own way.",
        title="Teacher's prompt",
        help="`{question}` stands for the student's prompt, `{privileged}` for the privileged "
        "text.",
        expert=True,
        multiline=True,
    )
    most_tokens: int = option(
        2048,
        title="Longest privileged text",
        help="A longer text is cut in its middle; the question is never cut.",
        unit="tokens",
        ge=1,
        le=1_000_000,
        expert=True,
    )

    @field_validator("template")
    @classmethod
    def _has_both(cls, template: str) -> str:
        for name in ("{question}", "{privileged}"):
            if name not in template:
                raise ValueError(f"must contain {name}, or the teacher does not read it")
        return template


Context = Annotated[PlainContext | PrivilegedContext, Field(discriminator="kind")]


def teacher_context() -> Context:
    """Declare the setting of what a teacher reads."""
    field: Context = option(title="Context", help="What the teacher reads.", factory=PlainContext)
    return field
