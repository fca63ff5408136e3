"""Compares a run with a recording: bit for bit on the same machine, else only its first steps.

The last bits of a matrix product differ between instruction sets and library versions. A token is
sampled by comparing such numbers, so sooner or later one token differs, then its answer, then the
weights and all that follows. Only the first steps can therefore be compared on another machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.golden.recording import Header
from tests.golden.runs import Numbers, Reading, Value

MISSING, NOT_RECORDED = "missing", "not recorded"


@dataclass(frozen=True)
class Rule:
    """Which values are compared (all without `keys`), and how closely (tolerance 0: every bit)."""

    description: str
    keys: frozenset[str] = frozenset()
    last_step: int | None = None
    tolerance: float = 0.0

    def select(self, numbers: Numbers) -> Numbers:
        """The part of `numbers` that is compared."""
        if not self.keys:
            return numbers
        return {
            key: [r for r in readings if self.last_step is None or r.step <= self.last_step]
            for key, readings in numbers.items()
            if key in self.keys
        }

    def same(self, recorded: Value, current: Value) -> bool:
        if isinstance(recorded, str | None) or isinstance(current, str | None):
            return recorded == current
        if self.tolerance:
            return math.isclose(recorded, current, rel_tol=self.tolerance)
        # 0.0 and -0.0 are equal but differ in a bit.
        return recorded == current and math.copysign(1, recorded) == math.copysign(1, current)


EXACT = Rule("bit for bit, all values of all steps")
# Measured with ATEN_CPU_CAPABILITY=default against AVX2: up to step 3 these differ by at most 4e-6.
# The tolerance leaves room for one sampled token that differs.
NEAR_KEYS = ("loss", "grad_norm", "learning_rate", "entropy/mean", "divergence/mean")
NEAR = Rule(
    f"only {', '.join(NEAR_KEYS)} up to step 3, within a relative 1e-3",
    frozenset(NEAR_KEYS),
    last_step=3,
    tolerance=1e-3,
)


@dataclass(frozen=True)
class Difference:
    """`recorded` is NOT_RECORDED, or `current` MISSING, where only the other side has a value."""

    step: int
    key: str
    recorded: Value
    current: Value

    def __str__(self) -> str:
        old = self.recorded if self.recorded == NOT_RECORDED else f"recorded {self.recorded}"
        return f"step {self.step}, {self.key}: {old}, now {self.current}"


@dataclass(frozen=True)
class Comparison:
    """How many keys and values were compared; differences by step, then in the order of the log."""

    keys: int
    values: int
    differences: list[Difference] = field(default_factory=list)


def rule_for(recorded: Header, current: Header) -> Rule:
    return EXACT if recorded == current else NEAR


def header_differences(recorded: Header, current: Header) -> list[str]:
    """What is not as it was when the recording was made, as `name recorded → now`."""
    return [
        f"{name} {recorded.get(name)} → {current.get(name)}"
        for name in sorted(recorded.keys() | current.keys())
        if recorded.get(name) != current.get(name)
    ]


def compare(recorded: Numbers, current: Numbers, rule: Rule) -> Comparison:
    """Every value that the rule selects, including keys that only one side has."""
    recorded, current = rule.select(recorded), rule.select(current)
    keys = [*recorded, *(key for key in current if key not in recorded)]
    differences: list[Difference] = []
    for key in keys:
        differences += _of_key(key, recorded.get(key, []), current.get(key, []), rule)
    values = sum(len(reading.values) for readings in recorded.values() for reading in readings)
    return Comparison(
        len(recorded), values, sorted(differences, key=lambda difference: difference.step)
    )


def _of_key(key: str, old: list[Reading], new: list[Reading], rule: Rule) -> Iterator[Difference]:
    for before, now in zip(old, new, strict=False):
        if before.step != now.step:
            first = min(before.step, now.step)
            yield Difference(first, key, f"at step {before.step}", f"at step {now.step}")
            return
        yield from _of_reading(key, before, now, rule)
    common = min(len(old), len(new))
    yield from (Difference(reading.step, key, _shown(reading), MISSING) for reading in old[common:])
    yield from (
        Difference(reading.step, key, NOT_RECORDED, _shown(reading)) for reading in new[common:]
    )


def _of_reading(key: str, before: Reading, now: Reading, rule: Rule) -> Iterator[Difference]:
    counts = len(before.values), len(now.values)
    if counts[0] != counts[1]:
        yield Difference(before.step, key, f"{counts[0]} values", f"{counts[1]} values")
        return
    for index, (old, new) in enumerate(zip(before.values, now.values, strict=True)):
        if not rule.same(old, new):
            name = f"{key} (value {index + 1} of {counts[0]})" if counts[0] > 1 else key
            yield Difference(before.step, name, old, new)


def _shown(reading: Reading) -> Value:
    return reading.values[0] if len(reading.values) == 1 else f"{len(reading.values)} values"
