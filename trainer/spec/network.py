"""One language model of a run, and how it is loaded."""

from __future__ import annotations

from typing import Literal

from trainer.spec.base import ModelURI, Section, option
from trainer.spec.contexts import Thinking, thinking_mode


class Network(Section):
    """One language model and how it is loaded."""

    model: ModelURI = option(
        title="Model",
        help="`builtin:student`, `builtin:teacher`, `model:<name>@<hash>`, "
        "`hub:<org>/<name>@<revision>` or `file:<folder>`. "
        "Weights are read from safetensors only.",
    )
    dtype: Literal["float32", "bfloat16", "float64"] = option(
        "float32",
        title="Precision",
        help="Number format of the weights.",
        expert=True,
    )
    random_init: bool = option(
        False,
        title="Random weights",
        help="Replace the stored weights by random ones, drawn by the seed of the run.",
        expert=True,
    )
    chat_template: bool = option(
        True,
        title="Chat template",
        help="Format prompts with the tokenizer's chat template if it has one.",
        expert=True,
    )
    thinking: Thinking = thinking_mode()
