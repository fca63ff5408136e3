"""Graded answers for the verifier `exact`."""

from __future__ import annotations

from tests.trainer.verifiers.corpus.groups import Group

GROUPS = (
    Group(
        "other text",
        "Paris",
        (
            "Paris",
            " Paris\n",
            "<think>France, so Paris</think>\nParis",
            "Paris\n\nQuestion: And of Spain?\nAnswer: Madrid",
        ),
        (
            "paris",
            "Paris.",
            "Paris, France",
            "The answer is Paris",
            "<think>Paris</think>London",
            "<think>Paris",
            "Pari s",
            "",
            "London\n\nQuestion: And of France?\nParis",
        ),
    ),
    Group(
        "text after a marker",
        "the moon",
        (
            "Answer: The  Moon",
            "no. Answer: no. Answer: the moon",
            "<think>x</think>Answer: the moon",
        ),
        (
            "the moon",
            "Answer: the moon.",
            "Answer: moon",
            "Answer: the moon Answer: sun",
            "answer:",
        ),
        {"after": "Answer:", "ignore_case": True},
    ),
    Group(
        "signs that look alike",
        "naïve",
        ("naïve", "nai\u0308ve"),
        ("naive", "naïve!", "Naïve"),
    ),
)
