"""The networks of a run, by role."""

from __future__ import annotations

from typing import Literal

from trainer.spec.base import ModelURI, Section, option


class Network(Section):
    """One language model and how it is loaded."""

    model: ModelURI = option(
        title="Model",
        help="`builtin:student`, `builtin:teacher`, `model:<name>@<hash>`, `hub:<org>/<name>@<revision>` or `file:<folder>`. "
        "Weights are read from safetensors only.",
    )
    dtype: Literal["float32", "bfloat16", "float64"] = option(
        "float32", title="Precision", help="Number format that the weights are held in.", expert=True
    )
    random_init: bool = option(
        False, title="Random weights", help="Ignore the stored weights and draw new ones from the run's seed.", expert=True
    )
    chat_template: bool = option(
        True, title="Chat template", help="Format prompts with the tokenizer's chat template where it has one.", expert=True
    )


class Networks(Section):
    """Roles of a text run."""

    student: Network = option(title="Student", help="The model that is trained.", factory=lambda: Network(model="builtin:student"))
    teacher: Network = option(
        title="Teacher", help="The frozen model that the student learns from.", factory=lambda: Network(model="builtin:teacher")
    )
