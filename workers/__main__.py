"""The workers' commands.

python -m workers supervise | carry-shard | preflight | bases | sweep | stop-all | resume-all |
    drain | undrain
"""

from __future__ import annotations

import argparse
import os

import django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    supervise = commands.add_parser("supervise", help="execute one attempt of a run")
    supervise.add_argument("run")
    supervise.add_argument("attempt", type=int)
    execute = commands.add_parser("carry-shard", help="execute one copy of a part of a job")
    execute.add_argument("copy", type=int)
    commands.add_parser("preflight", help="check the definitions that wait for it, then end")
    commands.add_parser("bases", help="train the base students that runs wait for, then end")
    commands.add_parser(
        "sweep", help="find queued and orphaned runs, for as long as this process lives"
    )
    stop = commands.add_parser(
        "stop-all",
        help="ask every trainer on this host for a checkpoint and stop it, to be resumed later",
    )
    stop.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
    commands.add_parser("resume-all", help="queue the runs again that stop-all has stopped")
    drain = commands.add_parser("drain", help="place nothing more on a machine")
    drain.add_argument("node")
    drain.add_argument(
        "--move",
        action="store_true",
        help="let its runs write a checkpoint and resume elsewhere, instead of finishing there",
    )
    undrain = commands.add_parser("undrain", help="use a drained machine again")
    undrain.add_argument("node")
    options = parser.parse_args()

    # Not before the arguments are parsed: `--help` and mistakes need neither settings nor Django.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    django.setup()
    # These modules import Django models, which need the setup above.
    from workers import bases, database, periodic_recovery, preflights
    from workers.attempt import restart, supervisor_start
    from workers.machine import draining
    from workers.shards import runner

    database.set_session_timeouts()
    match options.command:
        case "supervise":
            supervisor_start.supervise(options.run, options.attempt)
        case "carry-shard":
            runner.execute(options.copy)
        case "preflight":
            preflights.run_waiting()
        case "bases":
            bases.run_waiting()
        case "sweep":
            periodic_recovery.run_forever()
        case "stop-all":
            restart.stop_all(options.timeout)
        case "resume-all":
            restart.resume_all()
        case "drain":
            draining.drain(options.node, options.move)
        case "undrain":
            draining.undrain(options.node)


if __name__ == "__main__":
    main()
