"""Calibration of an evaluation's answers: stated, expected, and token-probability confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.engine.loop import Runtime
from trainer.text.calibration.readouts import answer_confidence, expected_confidence
from trainer.text.calibration.summary import Readout, metrics, summarise
from trainer.text.calibration.tokens import confidence_tokens
from trainer.text.rollouts.questions import Answer
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_scored


def measure(
    components: RunComponents, answers: Sequence[Answer], tokens: int, when: str, rt: Runtime
) -> dict[str, float]:
    """Emit a `calibration` event for each readout; return their metrics.

    `tokens` ids are read at a time.
    """
    values: dict[str, float] = {}
    for event in _events(components, answers, tokens, rt):
        rt.emit("calibration", when=when, role="evaluation", **event)
        values |= metrics(event)
    return values


def _events(
    components: RunComponents, answers: Sequence[Answer], tokens: int, rt: Runtime
) -> list[dict[str, Any]]:
    correct = [answer.verdict for answer in answers]

    def event(
        readout: Readout, confidence: Sequence[float | None], malformed: Sequence[str] = ()
    ) -> dict[str, Any]:
        return summarise(readout, confidence, correct, malformed)

    codec = components.codec
    if codec is None:
        return [event("answer", [_of_words(components, answer) for answer in answers])]
    readings = [codec.read(answer.text) for answer in answers]
    wrong = [reading.problem for reading in readings]
    expected = expected_confidence(
        components.student,
        [(answer.prompt, answer.ids) for answer in answers],
        codec,
        tokens=tokens,
    )
    count_scored(rt, components.student, answers)
    return [
        event("stated", [reading.value for reading in readings], wrong),
        event("expected", expected, wrong),
        event("answer", [_of_words(components, answer) for answer in answers]),
    ]


def _of_words(components: RunComponents, answer: Answer) -> float | None:
    """Without the words that state a confidence."""
    if answer.logprobs is None:
        return None
    if components.codec is None:
        return answer_confidence(answer.logprobs)
    return answer_confidence(
        answer.logprobs, ~confidence_tokens(components.codec, components.student, answer.ids)
    )
