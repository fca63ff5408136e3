"""Makes an input that fails as small as it can be."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.fuzz.inputs import Input

MOST_TRIES, MOST_SECONDS = 400, 30.0


def minimised(input: Input, fails: Callable[[Input], bool]) -> Input:
    """Leave out files, then parts of each file, as long as the rest fails in the same way.

    Ends after MOST_TRIES or MOST_SECONDS with what it has by then.
    """
    tries, deadline = 0, time.monotonic() + MOST_SECONDS

    def still_fails(candidate: Input) -> bool:
        nonlocal tries
        tries += 1
        return fails(candidate)

    def may_try() -> bool:
        return tries < MOST_TRIES and time.monotonic() < deadline

    for name in list(input):
        rest = {other: content for other, content in input.items() if other != name}
        if may_try() and still_fails(rest):
            input = rest
    for name in list(input):
        length = len(input[name])
        while length and may_try():
            length = (length + 1) // 2 if length > 1 else 0
            start = 0
            while length and start < len(input[name]) and may_try():
                content = input[name]
                shorter = {**input, name: content[:start] + content[start + length :]}
                if still_fails(shorter):
                    input = shorter
                else:
                    start += length
    return input
