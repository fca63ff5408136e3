"""The workers' commands: `python -m workers supervise | carry-shard | sweep | stop-all | resume-all
| drain | undrain`.
"""

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
    carry = commands.add_parser("carry-shard", help="carry one copy of a part of a job to its end")
    carry.add_argument("copy", type=int)
    commands.add_parser(
        "sweep", help="find queued and orphaned runs, for as long as this process lives"
    )
    stop = commands.add_parser(
        "stop-all",
        help="ask every trainer on this host for a checkpoint and stop it, to be resumed later",
    )
    stop.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
    commands.add_parser("resume-all", help="queue the runs again that stop-all has stopped")
    drain = commands.add_parser("drain", help="place nothing on a machine any more")
    drain.add_argument("node")
    drain.add_argument(
        "--move",
        action="store_true",
        help="have its runs write a checkpoint and go on elsewhere, instead of finishing there",
    )
    undrain = commands.add_parser("undrain", help="take a machine back into use")
    undrain.add_argument("node")
    chosen = parser.parse_args()

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    django.setup()
    from workers import retry, sweep
    from workers.attempt import restart, supervisor_start
    from workers.machine import draining
    from workers.shards import runner

    retry.let_go_when_stopped()
    match chosen.command:
        case "supervise":
            supervisor_start.supervise(chosen.run, chosen.attempt)
        case "carry-shard":
            runner.carry(chosen.copy)
        case "sweep":
            sweep.forever()
        case "stop-all":
            restart.stop_all(chosen.timeout)
        case "resume-all":
            restart.resume_all()
        case "drain":
            draining.drain(chosen.node, chosen.move)
        case "undrain":
            draining.undrain(chosen.node)


if __name__ == "__main__":
    main()
