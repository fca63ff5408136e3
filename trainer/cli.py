"""The trainer's command line.

Only `run`, `resume`, `shard` and `base` import torch, which takes seconds.

`preflight` needs tokenizers, which it opens without torch in a child process.

Exit codes: 0 completed, 64 unusable definition, data or model, 65 the loss is not a number, 70 any
other failure, 74 disk full, 75 stopped on request after a checkpoint. With several machines: 69 the
others do not answer, 71 a process died here or the machines could not meet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from trainer import recipes
from trainer.engine.attempts import next_attempt
from trainer.engine.distributed import processes
from trainer.engine.distributed.ranks import MachineRank, rank_of_this_process
from trainer.events import reference
from trainer.events.event_types import EVENT_TYPES
from trainer.exit_codes import ExitCode
from trainer.experiments.folders import bases_folder
from trainer.explain import explain
from trainer.spec import RunSpec, SpecError, load, to_yaml
from trainer.spec.fields.field_table import markdown
from trainer.spec.jobs import load_job
from trainer.text.preflight import supervision
from trainer.text.problems import ProblemError, load_all


class Unusable(Exception):
    """An argument cannot be used; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    # argparse itself ends with 2 for wrong arguments, which is none of the trainer's exit codes.
    try:
        return int(options.command(options))
    except (Unusable, ProblemError) as error:
        print(error, file=sys.stderr)
    except SpecError as error:
        print(
            f"{options.spec} cannot run:",
            *(f"- {issue}" for issue in error.issues),
            sep="\n",
            file=sys.stderr,
        )
    return ExitCode.REFUSED


def validate(options: argparse.Namespace) -> int:
    spec = load(_text_of(options.spec))
    if options.data:
        load_all(spec.data)
    print(f"{options.spec} can run: {spec.name}, {spec.total_steps:,} steps.")
    return ExitCode.COMPLETED


def explain_spec(options: argparse.Namespace) -> int:
    spec = load(_text_of(options.spec))
    print(explain(spec, load_all(spec.data)), end="")
    return ExitCode.COMPLETED


def preflight(options: argparse.Namespace) -> int:
    """Check tokenizers, data and verifier; print the findings as JSON, or as text on a terminal."""
    if options.sample < 1 or options.seconds <= 0 or options.memory <= 0:
        raise Unusable("--sample, --seconds and --memory must be above 0.")
    spec = load(_text_of(options.spec))
    limits = supervision.Limits(
        options.sample, options.seconds, max(1, int(options.memory * 2**30))
    )
    report = supervision.preflight(options.spec, limits)
    answer = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
    if options.out:
        options.out.write_text(f"{answer}\n", encoding="utf-8")
    elif options.json or not sys.stdout.isatty():
        print(answer)
    else:
        print(report.to_text(spec.name), end="")
    if report.refused:
        return ExitCode.REFUSED
    return ExitCode.COMPLETED if report.is_complete else ExitCode.FAILED


def run(options: argparse.Namespace) -> int:
    """Train in this process, or in several that this one starts and watches."""
    count, device, machines = _process_count(options, options.spec)
    if count * machines.count > 1:
        # Fixed here, because the ranks and the `end` event of this process must name the same
        # folder.
        attempt = options.attempt or 1
        command = [
            *processes.TRAINER,
            "run",
            str(options.spec),
            "--dir",
            str(options.dir),
            "--attempt",
            str(attempt),
        ]
        return processes.run_processes(
            command,
            _resume_command(options.dir, attempt),
            options.dir,
            attempt,
            count,
            device,
            machines,
        )
    from trainer.text.run import start

    return start(options.spec, options.dir, options.attempt)


def resume(options: argparse.Namespace) -> int:
    if not (options.run_dir / "spec.json").is_file():
        raise Unusable(
            f"{options.run_dir} holds no run: it has no spec.json. "
            "Name the folder that was given to `run --dir`."
        )
    count, device, machines = _process_count(options, options.run_dir / "spec.json")
    if count * machines.count > 1:
        attempt = options.attempt or next_attempt(options.run_dir)
        # The choice of a checkpoint holds for the first start only: after memory ran out the ranks
        # resume from the newest one.
        resume_command = _resume_command(options.run_dir, attempt)
        command = resume_command
        if options.checkpoint:
            command = [*command, "--from", str(options.checkpoint)]
        elif options.from_scratch:
            command = [*command, "--anew"]
        return processes.run_processes(
            command, resume_command, options.run_dir, attempt, count, device, machines
        )
    from trainer.text.run import resume

    return resume(options.run_dir, options.attempt, options.checkpoint, options.from_scratch)


def _resume_command(run_dir: Path, attempt: int) -> list[str]:
    return [*processes.TRAINER, "resume", str(run_dir), "--attempt", str(attempt)]


def _process_count(options: argparse.Namespace, spec: Path) -> tuple[int, str, MachineRank]:
    """How many processes this one has to start, on which device, and beside which machines.

    A definition that cannot be read starts none: the run says why. A rank that was started already
    starts no others.
    """
    # SpecError is a ValueError.
    try:
        compute = load(spec.read_text()).compute
    except (OSError, ValueError):
        return 1, "auto", processes.SINGLE_MACHINE
    # Otherwise every rank would start ranks of its own, without end.
    if rank_of_this_process() is not None:
        return 1, compute.device, processes.SINGLE_MACHINE
    return (
        options.processes or compute.processes,
        compute.device,
        _machines(options, options.machines or compute.nodes),
    )


def shard(options: argparse.Namespace) -> int:
    """Run one part of a job."""
    if not 0 <= options.part < options.of:
        raise Unusable(f"There is no part {options.part} of {options.of}; parts count from 0.")
    # Read before torch is imported, so that a wrong definition is refused at once.
    spec = load_job(_text_of(options.spec))
    from trainer.engine.run import failure_of
    from trainer.text.jobs import execution
    from trainer.text.run import TEXT

    try:
        done = execution.execute_part(spec, options.part, options.of, options.out)
    except Exception as error:
        failure = failure_of(error, TEXT)
        print(failure.reason, file=sys.stderr)
        return failure.code
    print(f"{options.out} holds part {options.part} of {options.of}: {done:,} problems.")
    return ExitCode.COMPLETED


def base(options: argparse.Namespace) -> int:
    """Train the base student of an experiment for a seed, unless it exists."""
    from trainer.experiments import bases

    try:
        bases.known(options.name)
    except KeyError as error:
        raise Unusable(error.args[0]) from None
    # At once, because a worker reads it as progress.
    folder = bases.make(
        options.name, options.seed, bases_folder(options.dir), lambda line: print(line, flush=True)
    )
    print(f"{folder} holds the base student.")
    return ExitCode.COMPLETED


def _machines(options: argparse.Namespace, count: int) -> MachineRank:
    if count > 1 and not (
        0 <= options.machine < count and options.meeting.rpartition(":")[2].isdecimal()
    ):
        # Checked here, because ranks without an address would wait for each other until the
        # timeout.
        raise Unusable(
            f"The run needs {count} machines: give each its --machine from 0 and the same "
            "--meeting, a host:port of machine 0. Give --machines 1 to run it on this one alone."
        )
    return MachineRank(count, options.machine, options.meeting)


def show_recipes(options: argparse.Namespace) -> int:
    """Print the list of recipes, one recipe, or the definition of a preset as YAML."""
    try:
        print(_recipe_text(options.name, options.preset), end="")
    except KeyError as error:
        # str() of a KeyError puts its message in quotes.
        raise Unusable(error.args[0]) from None
    return ExitCode.COMPLETED


def schema(options: argparse.Namespace) -> int:
    text = (
        markdown()
        if options.markdown
        else json.dumps(RunSpec.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
    )
    print(text, end="")
    return ExitCode.COMPLETED


def event_reference(options: argparse.Namespace) -> int:
    """Print the types of events, or the page about the event log."""
    names = "".join(f"{name}\n" for name in EVENT_TYPES)
    print(reference.markdown() if options.markdown else names, end="")
    return ExitCode.COMPLETED


def _recipe_text(name: str | None, preset: str | None) -> str:
    if name is None:
        return "".join(
            f"{recipe.name}: {recipe.title}, arXiv {recipe.paper.arxiv}\n"
            for recipe in map(recipes.load, recipes.names())
        )
    recipe = recipes.load(name)
    if preset is not None:
        return to_yaml(recipe.spec(preset))
    claims = "".join(
        f"- {claim.claim} {claim.figures} ({claim.source})\n" for claim in recipe.claims
    )
    presets = "".join(
        f"- {key}: {preset.title}. {preset.help}\n" for key, preset in recipe.presets.items()
    )
    return (
        f"{recipe.title}: {recipe.paper.title} ({recipe.paper.year}), {recipe.paper.url}\n\n"
        f"{recipe.summary}\n\n{recipe.equation}\n\nWatch: {recipe.watch}\n\n"
        f"The paper's claims:\n{claims}\nPresets:\n{presets}"
    )


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Unusable(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise Unusable(
            f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}."
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Distil language models. A definition is YAML or JSON.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_reading(commands)
    _add_training(commands)
    return parser


def _add_reading(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("validate", help="check whether a definition can run")
    command.add_argument("spec", type=Path)
    command.add_argument("--data", action="store_true", help="also read and check its problems")
    command.set_defaults(command=validate)
    command = commands.add_parser(
        "preflight",
        help="check a definition's tokenizers, problems and verifier with each other, in seconds",
    )
    command.add_argument("spec", type=Path)
    defaults = supervision.Limits()
    command.add_argument(
        "--sample", type=int, default=defaults.sample, help="problems of each role to look at"
    )
    command.add_argument(
        "--seconds", type=float, default=defaults.seconds, help="time after which it ends"
    )
    command.add_argument(
        "--memory", type=float, default=defaults.memory / 2**30, help="GiB that it may use"
    )
    command.add_argument("--json", action="store_true", help="print JSON on a terminal too")
    command.add_argument("--out", type=Path, help="write the JSON to this file instead")
    command.set_defaults(command=preflight)
    command = commands.add_parser("explain", help="describe what a definition does")
    command.add_argument("spec", type=Path)
    command.set_defaults(command=explain_spec)
    command = commands.add_parser(
        "recipes", help="list the published systems, show one, or print a definition to start from"
    )
    command.add_argument("name", nargs="?")
    command.add_argument("--preset", help="print the definition of this preset")
    command.set_defaults(command=show_recipes)
    command = commands.add_parser("schema", help="print the JSON schema of definitions")
    command.add_argument("--markdown", action="store_true", help="as the tables of the docs")
    command.set_defaults(command=schema)
    command = commands.add_parser("events", help="list the types of events of a log")
    command.add_argument("--markdown", action="store_true", help="as the page of the docs")
    command.set_defaults(command=event_reference)


def _add_training(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("run", help="train by a definition")
    command.add_argument("spec", type=Path)
    command.add_argument(
        "--dir", type=Path, required=True, help="folder of the run: log, checkpoints"
    )
    command.add_argument("--attempt", type=int, help="number of this attempt")
    _add_processes(command)
    command.set_defaults(command=run)
    command = commands.add_parser("resume", help="resume a run from a checkpoint")
    command.add_argument("run_dir", type=Path)
    command.add_argument(
        "--attempt", type=int, help="number of this attempt; the next free one by default"
    )
    command.add_argument(
        "--from",
        dest="checkpoint",
        type=Path,
        help="folder of a checkpoint; the newest undamaged one by default",
    )
    command.add_argument(
        "--anew",
        dest="from_scratch",
        action="store_true",
        help="start from step 0 although there are checkpoints",
    )
    _add_processes(command)
    command.set_defaults(command=resume)
    command = commands.add_parser(
        "shard", help="run one part of a job: a model over a data set, without training"
    )
    command.add_argument("spec", type=Path)
    command.add_argument("--part", type=int, default=0, help="number of the part, from 0")
    command.add_argument("--of", type=int, default=1, help="how many parts the job has")
    command.add_argument("--out", type=Path, required=True, help="file of JSON lines to write")
    command.set_defaults(command=shard)
    command = commands.add_parser(
        "base", help="train the base student of an experiment for a seed, unless it exists"
    )
    command.add_argument("name")
    command.add_argument("--seed", type=int, required=True, help="seed of the runs that use it")
    command.add_argument("--dir", type=Path, required=True, help="folder of the experiment")
    command.set_defaults(command=base)


def _add_processes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--processes",
        type=int,
        help="processes on this machine, instead of the definition's compute.processes",
    )
    command.add_argument(
        "--machines",
        type=int,
        help="machines of the run, instead of the definition's compute.nodes",
    )
    command.add_argument(
        "--machine",
        type=int,
        default=0,
        help="number of this machine, from 0; machine 0 writes the log and the checkpoints",
    )
    command.add_argument(
        "--meeting",
        default="",
        help="host:port of machine 0 where the processes of all machines meet",
    )
