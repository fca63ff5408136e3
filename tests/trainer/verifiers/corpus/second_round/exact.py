"""Second round for `exact`."""

from __future__ import annotations

from tests.trainer.verifiers.corpus.groups import Group

GROUPS = (
    Group(
        "reasoning and follow-ups",
        "Paris",
        (
            "<think>a<think>b</think>c</think>\n\nParis",
            "<|channel|>analysis<|message|>Rome?<|end|><|start|>assistant<|channel|>final<|message|>"
            "Paris",
            "Paris\n\n### Question 2\nRome",
            "Paris<|im_end|>",
        ),
        (
            "<|channel|>analysis<|message|>Paris",
            "<think>Rome</think>Paris or Rome",
            "Rome\n\nQuestion: And of France?\nParis",
            "Not Paris",
            "Paris\nParis",
        ),
    ),
)
