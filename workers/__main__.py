"""The workers' commands: `python -m workers supervise RUN ATTEMPT | sweep | stop-all | resume-all`."""

from __future__ import annotations

import argparse
import os

import django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    supervise = commands.add_parser("supervise", help="carry one attempt of a run to its end")
    supervise.add_argument("run")
    supervise.add_argument("attempt", type=int)
    commands.add_parser("sweep", help="find queued and orphaned runs, for as long as this process lives")
    stop = commands.add_parser("stop-all", help="ask every trainer on this host for a checkpoint and stop it, to be resumed later")
    stop.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
    commands.add_parser("resume-all", help="queue the runs again that stop-all has stopped")
    chosen = parser.parse_args()

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    django.setup()
    from workers import restart, supervision, sweep

    match chosen.command:
        case "supervise":
            supervision.supervise(chosen.run, chosen.attempt)
        case "sweep":
            sweep.forever()
        case "stop-all":
            restart.stop_all(chosen.timeout)
        case "resume-all":
            restart.resume_all()


if __name__ == "__main__":
    main()
