"""An outage of Postgres or Redis for minutes, during runs on two hosts with the default lease.

    python -m tests.faults.outage {postgres,redis} [--minutes M]

One supervisor is killed meanwhile, and a run is queued while Redis is away. The script prints how
long the recovery took, and checks the same conditions as tests.faults.chaos.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

import django

from tests.faults import chaos
from tests.faults.world import World, kill_if_alive, until, world

LEASE_SECONDS = 30
STEP_SECONDS = 0.5
RUNS = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.outage", description=__doc__)
    parser.add_argument("of", choices=["postgres", "redis"])
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    seconds = 60 * options.minutes
    with world(LEASE_SECONDS) as site:
        os.environ.update(site.environment, STEADY_SECONDS=str(STEP_SECONDS))
        django.setup()
        chaos.start(site)
        steps = round((seconds + 60) / STEP_SECONDS)
        runs = chaos.begin(RUNS, steps)
        until(
            lambda: all(at_work(run) for run in runs),
            "the beginning of every run",
            meanwhile=site.restart_dead,
        )
        print(f"Without {options.of} for {seconds:.0f} s; the lease is {LEASE_SECONDS} s.")
        site.kill(options.of)
        kill_if_alive(chaos.processes(site, "supervise")[0])
        before = written(site, runs)
        time.sleep(seconds / 2)
        late = chaos.begin(1, 40) if options.of == "redis" else []
        if late:
            began = time.monotonic()
            until(lambda: at_work(late[0]), "the start of a run without notification")
            print(
                "A run queued meanwhile reached its fifth step after "
                f"{time.monotonic() - began:.1f} s."
            )
        time.sleep(seconds / 2)
        after = written(site, runs)
        print(f"Trainers continued: {sum(after) - sum(before)} events were written.")
        began = time.monotonic()
        site.revive(options.of)
        until(
            lambda: all(recorded(run) >= seq for run, seq in zip(runs, after, strict=True)),
            "the recording of the backlog",
            600,
            site.restart_dead,
        )
        print(f"They are recorded {time.monotonic() - began:.1f} s after its return.")
        rows = chaos.conclude(site, runs, steps) + chaos.conclude(site, late, 40)
    print(chaos.table(("run", "attempts", "state", "events in logs", "recorded", "result"), rows))
    return any(row[-1] != "complete, one curve" for row in rows)


def at_work(run: Any) -> bool:
    run.refresh_from_db()
    return bool(run.step >= 5)


def written(site: World, runs: list[Any]) -> list[int]:
    """Return the number of the last event in each run's log."""
    from trainer.events import last_seq

    return [
        last_seq(next(site.folder.glob(f"*/runs/{run.public_id}/attempts/1")) / "events")
        for run in runs
    ]


def recorded(run: Any) -> int:
    from workers.database import retry_on_outage

    seq: int = retry_on_outage(lambda: run.attempts.get(number=1).last_seq)
    return seq


if __name__ == "__main__":
    sys.exit(main())
