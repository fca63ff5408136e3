"""`python -m workers.launcher.alive`: whether every part that this clone's launcher started still
runs; for health checks of containers.
"""

from __future__ import annotations

import sys

from workers.launcher import leftovers
from workers.launcher.install import CLONE


def main() -> int:
    dead = leftovers.dead(CLONE / "var" / "processes.json")
    if dead:
        print(f"Not running: {', '.join(dead)}.", file=sys.stderr)
    return int(bool(dead))


if __name__ == "__main__":
    sys.exit(main())
