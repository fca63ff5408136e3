"""The command line of the experiments.

python -m trainer.experiments list
python -m trainer.experiments run NAME --dir DIR [--seeds …] [--arms …] [--jobs N]
python -m trainer.experiments report NAME --dir DIR
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trainer.experiments import RESULTS
from trainer.experiments.definition import Experiment, load, names


def main() -> int:
    options = _parser().parse_args()
    if options.command == "list":
        print("".join(f"{name}: {load(name).title}\n" for name in names()), end="")
        return 0
    try:
        experiment = load(options.name)
        return (
            _run(experiment, options) if options.command == "run" else _report(experiment, options)
        )
    except (KeyError, FileNotFoundError, RuntimeError, ValueError) as error:
        print(error.args[0] if isinstance(error, KeyError) else error, file=sys.stderr)
        return 1


def _run(experiment: Experiment, options: argparse.Namespace) -> int:
    from trainer.experiments.run import run

    arms = options.arms or list(experiment.arms)
    if unknown := next((arm for arm in arms if arm not in experiment.arms), None):
        raise KeyError(
            f"{experiment.name} has no arm {unknown}; its arms are {', '.join(experiment.arms)}"
        )
    run(
        experiment,
        options.dir,
        options.seeds or experiment.seeds,
        arms,
        _print_now,
        options.jobs,
    )
    return 0


def _print_now(line: str) -> None:
    # Lines of several seeds may come at a time, and the output may be a file.
    print(line, flush=True)


def _report(experiment: Experiment, options: argparse.Namespace) -> int:
    from trainer.experiments.report import earlier_outcomes, merge_outcomes, write
    from trainer.experiments.run import outcomes

    write(
        experiment,
        merge_outcomes(
            experiment,
            earlier_outcomes(experiment, options.out),
            outcomes(experiment, options.dir),
        ),
        options.out,
    )
    print(f"{options.out / experiment.name / 'report.md'} written.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.experiments", description="Run arms × seeds and judge their claims."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="name the experiments")
    run = commands.add_parser(
        "run", help="execute an experiment; a second call continues where the first stopped"
    )
    report = commands.add_parser(
        "report",
        help="write results, verdicts and figures of all completed runs, earlier reports included",
    )
    for command in (run, report):
        command.add_argument("name")
        command.add_argument(
            "--dir", type=Path, required=True, help="folder for base students and runs"
        )
    run.add_argument(
        "--seeds", type=int, nargs="+", help="search seeds instead of the experiment's own"
    )
    run.add_argument("--arms", nargs="+", help="these arms only")
    run.add_argument(
        "--jobs",
        type=_positive,
        default=1,
        help="seeds that are run at a time, each run in one thread (default: 1)",
    )
    report.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="folder that gets <name>/results.json, report.md and figures",
    )
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
