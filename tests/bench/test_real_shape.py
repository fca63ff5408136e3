"""How the measurement at real shape reads the memory of a run."""

from __future__ import annotations

import resource
import sys

from bench import real_shape


def test_every_run_has_its_own_peak_memory() -> None:
    # A process counts what its parent had when it was started, so that only more can be told apart.
    parent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = parent + 2**28
    large = real_shape.execute([sys.executable, "-c", f"bytearray({size})"])
    small = real_shape.execute([sys.executable, "-c", "raise SystemExit(3)"])
    assert (large[0], small[0]) == (0, 3)
    assert large[1] >= size > small[1]
