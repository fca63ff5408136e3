"""Sampling noise as a pure function of what is sampled.

One uniform number per token, computed from (seed, purpose, round, problem, rollout, branch,
position) and nothing else: neither the order of calls nor the row in a batch nor the number of
processes changes an answer, and a resumed run samples what it would have sampled.

A rollout's name is hashed (BLAKE2b) to a 64-bit key; position t gives output t of SplitMix64
started at that key (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA
2014), whose top 53 bits are the number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Constants of SplitMix64: the increment and the two multipliers of its mixing function.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Noise:
    """One independent stream of noise.

    `purpose` separates training, evaluation and pass rates; `round` counts within a purpose. The
    first token uses number `offset`: what continues an answer of so many tokens begins there.
    """

    seed: int
    round: int
    purpose: str = "train"
    offset: int = 0


def rollout_keys(
    noise: Noise, rollouts: Iterable[tuple[str, int]], branch: int = 0
) -> NDArray[np.uint64]:
    """The 64-bit key of each (problem id, rollout index)."""
    prefix = hashlib.blake2b(
        repr((noise.seed, noise.purpose, noise.round, branch)).encode(), digest_size=8
    )
    keys = []
    for problem, sample in rollouts:
        name = prefix.copy()
        # `repr` quotes the id: without quotes (“a1”, 2) and (“a”, 12) would have the same key.
        name.update(repr((problem, sample)).encode())
        keys.append(int.from_bytes(name.digest(), "little"))
    return np.array(keys, dtype=np.uint64)


def uniforms(keys: NDArray[np.uint64], positions: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Numbers in [0, 1), one per key (and position, broadcast)."""
    # SplitMix64 computes modulo 2⁶⁴, so overflow is intended.
    with np.errstate(over="ignore"):
        state = keys + GOLDEN * (np.asarray(positions).astype(np.uint64) + np.uint64(1))
        state = (state ^ (state >> np.uint64(30))) * FIRST
        state = (state ^ (state >> np.uint64(27))) * SECOND
        state = state ^ (state >> np.uint64(31))
    # 53 bits are all that a float64 in [0, 1) holds; more would round up to 1.
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
