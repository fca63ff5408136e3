"""`python -m workers.launcher.alive`: the health check of containers.

Exits with 0 if this clone's launcher and every process that it started still run, and none of them
has hung. The launcher itself starts a hung process again; only what it cannot fix is left for this
check.
"""

from __future__ import annotations

import sys

from webapp.base import environment
from workers.launcher import process_record
from workers.launcher.hang_watch import START_SECONDS
from workers.launcher.install import CLONE
from workers.launcher.services.answers import services_answer


def main() -> int:
    record = CLONE / "var" / "processes.json"
    dead = process_record.dead(record)
    if dead:
        print(f"Not running: {', '.join(dead)}.", file=sys.stderr)
    hung = process_record.hung(record, START_SECONDS + environment.read().hung_seconds)
    # While they do not, the others wait for them, as they should.
    if hung and process_record.LAUNCHER not in hung and not services_answer():
        hung = []
    if hung:
        print(f"Without a sign of life: {', '.join(hung)}.", file=sys.stderr)
    return int(bool(dead or hung))


if __name__ == "__main__":
    sys.exit(main())
