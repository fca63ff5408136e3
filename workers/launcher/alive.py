"""`python -m workers.launcher.alive`: the health check of containers.

Exits with 0 if this clone's launcher and every process that it started still run.
"""

from __future__ import annotations

import sys

from workers.launcher import process_record
from workers.launcher.install import CLONE


def main() -> int:
    dead = process_record.dead(CLONE / "var" / "processes.json")
    if dead:
        print(f"Not running: {', '.join(dead)}.", file=sys.stderr)
    return int(bool(dead))


if __name__ == "__main__":
    sys.exit(main())
