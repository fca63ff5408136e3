"""Answers that continue a prefix or stop at an allowance, by an engine that writes whole answers.

The engine reads the prefix as the end of the prompt and writes at most as many tokens as are
allowed. The result is one trajectory: the segments of the prefix, unchanged, and a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.protocols import Engine
from trainer.text.rollouts.records import Progress, SampleRequest, Trajectory


def write(
    engine: Engine,
    requests: Sequence[SampleRequest],
    sampling: Sampling,
    noise: Noise,
    progress: Progress | None = None,
) -> list[Trajectory]:
    """Return the requested answers, in the order of `requests` and then of their samples.

    No answer is longer than `sampling.max_new_tokens`, its prefix included.
    """
    written: dict[int, list[Trajectory]] = {}
    # Answers with equal limits and prefixes of one length are written in one call.
    calls: dict[tuple[int, int], list[int]] = {}
    for index, request in enumerate(requests):
        calls.setdefault((_prefix_length(request), allowed(request, sampling)), []).append(index)
    for (length, allowance), indices in calls.items():
        if not allowance:
            written |= {index: _as_they_are(requests[index]) for index in indices}
            continue
        law = (
            sampling
            if allowance == sampling.max_new_tokens
            else sampling.model_copy(update={"max_new_tokens": allowance})
        )
        # An answer that goes on with the same weights is the one that was never interrupted.
        stream = replace(noise, offset=noise.offset + length)
        answers = iter(
            engine.write([_as_prompt(requests[index]) for index in indices], law, stream, progress)
        )
        written |= {
            index: [
                _joined(requests[index], answer)
                for answer in islice(answers, len(requests[index].samples))
            ]
            for index in indices
        }
    return [trajectory for index in range(len(requests)) for trajectory in written[index]]


def allowed(request: SampleRequest, sampling: Sampling) -> int:
    """Return how many further tokens an answer may have."""
    left = sampling.max_new_tokens - _prefix_length(request)
    return left if request.allowance is None else min(left, request.allowance)


def _prefix_length(request: SampleRequest) -> int:
    return request.prefix.length if request.prefix else 0


def _as_prompt(request: SampleRequest) -> SampleRequest:
    """The request as engines know it."""
    ids = request.prefix.ids if request.prefix else ()
    return SampleRequest(request.problem, (*request.prompt, *ids), request.samples)


def _as_they_are(request: SampleRequest) -> list[Trajectory]:
    return [
        _joined(request, Trajectory(request.problem, sample, request.prompt, (), True))
        for sample in request.samples
    ]


def _joined(request: SampleRequest, answer: Trajectory) -> Trajectory:
    prefix = request.prefix
    if prefix is None:
        return answer
    is_same = prefix.sample == answer.sample
    return replace(
        answer,
        prompt=request.prompt,
        segments=(*prefix.segments, *answer.segments),
        parent=prefix.parent if is_same else prefix.sample,
        inherited=prefix.inherited if is_same else prefix.length,
    )
