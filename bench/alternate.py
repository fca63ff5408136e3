"""Compare contenders fairly on a busy machine: in turn, several rounds, in CPU seconds, ratios
within a round.

CPU seconds of this process leave out the time that other programs had the core; what remains of
their influence (caches, clock) hits neighbours in a round alike, so the ratio of two contenders is
taken inside each round and the median over rounds is shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Contender = Callable[[int], Any]


def seconds(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each contender in each round; every contender is called with the round's
    number. A first round warms up.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-1, rounds):
        for name, contender in contenders.items():
            begin = time.process_time()
            contender(number)
            if number >= 0:
                taken[name].append(time.process_time() - begin)
    return taken


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times faster `fast` is: median, least and most over the rounds."""
    ratios = [first / second for first, second in zip(slow, fast, strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
