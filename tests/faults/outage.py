"""Postgres or Redis is killed under runs on two hosts and stays away for minutes, with the lease
that installations have by default.

    python -m tests.faults.outage {postgres,redis} [--minutes M]

One supervisor is killed meanwhile, and a run is queued while Redis is away. Afterwards it says how
long things took to be as if nothing had been, and everything must be complete, as after chaos.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

import django

from tests.faults import chaos
from tests.faults.world import World, slay, until, world

LEASE_SECONDS = 30
STEP_SECONDS = 0.5
RUNS = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.outage", description=__doc__)
    parser.add_argument("of", choices=["postgres", "redis"])
    parser.add_argument("--minutes", type=float, default=10.0)
    chosen = parser.parse_args()
    seconds = 60 * chosen.minutes
    with world(LEASE_SECONDS) as made:
        os.environ.update(made.environment, STEADY_SECONDS=str(STEP_SECONDS))
        django.setup()
        chaos.start(made)
        steps = round((seconds + 60) / STEP_SECONDS)
        runs = chaos.begin(RUNS, steps)
        until(
            lambda: all(at_work(run) for run in runs),
            "the beginning of every run",
            meanwhile=made.tend,
        )
        print(f"Without {chosen.of} for {seconds:.0f} s; the lease is {LEASE_SECONDS} s.")
        made.kill(chosen.of)
        slay(chaos.processes(made, "supervise")[0])
        before = written(made, runs)
        time.sleep(seconds / 2)
        late = chaos.begin(1, 40) if chosen.of == "redis" else []
        if late:
            began = time.monotonic()
            until(lambda: at_work(late[0]), "the beginning of a run that nobody was told of")
            print(
                f"A run queued meanwhile is at its fifth step after {time.monotonic() - began:.1f} s."
            )
        time.sleep(seconds / 2)
        after = written(made, runs)
        print(f"Trainers went on: {sum(after) - sum(before)} events were written.")
        began = time.monotonic()
        made.revive(chosen.of)
        until(
            lambda: all(recorded(run) >= seq for run, seq in zip(runs, after, strict=True)),
            "the catching up",
            600,
            made.tend,
        )
        print(f"They are recorded {time.monotonic() - began:.1f} s after its return.")
        rows = chaos.conclude(made, runs, steps) + chaos.conclude(made, late, 40)
    print(chaos.table(("run", "attempts", "state", "events in logs", "recorded", "found"), rows))
    return any(row[-1] != "complete, one curve" for row in rows)


def at_work(run: Any) -> bool:
    run.refresh_from_db()
    return bool(run.step >= 5)


def written(made: World, runs: list[Any]) -> list[int]:
    """The number of the last event in each run's log."""
    from trainer.events import last_seq

    return [
        last_seq(next(made.folder.glob(f"*/runs/{run.public_id}/attempts/1")) / "events")
        for run in runs
    ]


def recorded(run: Any) -> int:
    from workers.database import retry_on_outage

    seq: int = retry_on_outage(lambda: run.attempts.get(number=1).last_seq)
    return seq


if __name__ == "__main__":
    sys.exit(main())
