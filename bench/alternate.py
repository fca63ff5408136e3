"""Fair comparison on a busy machine: contenders in turn, several rounds, in CPU seconds.

CPU seconds of this process exclude the time that other programs had the core. Their remaining
influence (caches, clock rate) is similar for neighbours in a round, so the ratio of two contenders
is taken within each round, and the median over rounds is reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Contender = Callable[[int], Any]


def seconds(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each contender per round, after one warm-up round.

    A contender is called with the number of the round.
    """
    seconds_by_name: dict[str, list[float]] = {name: [] for name in contenders}
    # Round −1 warms caches up and does not count.
    for number in range(-1, rounds):
        for name, contender in contenders.items():
            begin = time.process_time()
            contender(number)
            if number >= 0:
                seconds_by_name[name].append(time.process_time() - begin)
    return seconds_by_name


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times faster `fast` is: median, minimum and maximum over the rounds."""
    return spread([first / second for first, second in zip(slow, fast, strict=True)])


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}
