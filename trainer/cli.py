"""The trainer's command line. Everything but `run` and `resume` answers without torch, in a moment.

Exit codes: 0 completed, 64 unusable definition, data or model, 65 the loss is not a number, 70 any other failure, 74 disk full,
75 stopped on request after a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from trainer import recipes
from trainer.engine.outcome import COMPLETED, REFUSED
from trainer.explain import explain
from trainer.field_table import markdown
from trainer.spec import RunSpec, SpecError, load, to_yaml
from trainer.text.problems import ProblemError, load_all


class Unusable(Exception):
    """What was asked for cannot be used; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (Unusable, ProblemError) as error:
        print(error, file=sys.stderr)
    except SpecError as error:
        print(f"{options.spec} cannot run:", *(f"- {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
    return REFUSED


def validate(options: argparse.Namespace) -> int:
    spec = _read(options.spec)
    if options.data:
        load_all(spec.data)
    print(f"{options.spec} can run: {spec.name}, {spec.total_steps:,} steps.")
    return COMPLETED


def explain_spec(options: argparse.Namespace) -> int:
    spec = _read(options.spec)
    print(explain(spec, load_all(spec.data)), end="")
    return COMPLETED


def run(options: argparse.Namespace) -> int:
    from trainer.engine.run import start

    return start(options.spec, options.dir, options.attempt)


def resume(options: argparse.Namespace) -> int:
    if not (options.run_dir / "spec.json").is_file():
        raise Unusable(f"{options.run_dir} holds no run: it has no spec.json. Name the folder that `run --dir` was given.")
    from trainer.engine.run import resume

    return resume(options.run_dir, options.attempt, options.checkpoint)


def show_recipes(options: argparse.Namespace) -> int:
    """A list, a recipe, or the definition of a preset as YAML to start from."""
    try:
        print(_recipe(options.name, options.preset), end="")
    except KeyError as error:
        raise Unusable(error.args[0]) from None
    return COMPLETED


def schema(options: argparse.Namespace) -> int:
    text = markdown() if options.markdown else json.dumps(RunSpec.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
    print(text, end="")
    return COMPLETED


def _recipe(name: str | None, preset: str | None) -> str:
    if name is None:
        return "".join(f"{each}: {recipes.load(each).title}, arXiv {recipes.load(each).paper.arxiv}\n" for each in recipes.names())
    recipe = recipes.load(name)
    if preset is not None:
        return to_yaml(recipe.spec(preset))
    claims = "".join(f"- {claim.claim} {claim.figures} ({claim.source})\n" for claim in recipe.claims)
    presets = "".join(f"- {key}: {preset.title}. {preset.help}\n" for key, preset in recipe.presets.items())
    about = f"{recipe.title}: {recipe.paper.title} ({recipe.paper.year}), {recipe.paper.url}\n\n{recipe.summary}\n\n{recipe.equation}\n"
    return f"{about}\nWatch: {recipe.watch}\n\nThe paper's claims:\n{claims}\nPresets:\n{presets}"


def _read(path: Path) -> RunSpec:
    """Raises Unusable and SpecError."""
    try:
        return load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise Unusable(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}.") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Distil language models. A definition is YAML or JSON.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_reading(commands)
    _add_training(commands)
    return parser


def _add_reading(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("validate", help="say whether a definition can run")
    command.add_argument("spec", type=Path)
    command.add_argument("--data", action="store_true", help="also read its problems")
    command.set_defaults(command=validate)
    command = commands.add_parser("explain", help="say in plain words what a definition does")
    command.add_argument("spec", type=Path)
    command.set_defaults(command=explain_spec)
    command = commands.add_parser("recipes", help="list the published systems, show one, or print a definition to start from")
    command.add_argument("name", nargs="?")
    command.add_argument("--preset", help="print the definition of this preset")
    command.set_defaults(command=show_recipes)
    command = commands.add_parser("schema", help="print the JSON schema of definitions")
    command.add_argument("--markdown", action="store_true", help="as the table of the docs")
    command.set_defaults(command=schema)


def _add_training(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("run", help="carry out a definition")
    command.add_argument("spec", type=Path)
    command.add_argument("--dir", type=Path, required=True, help="folder of the run: log, checkpoints")
    command.add_argument("--attempt", type=int, help="number of this attempt")
    command.set_defaults(command=run)
    command = commands.add_parser("resume", help="go on from a checkpoint")
    command.add_argument("run_dir", type=Path)
    command.add_argument("--attempt", type=int, help="number of this attempt; the next free one by default")
    command.add_argument("--from", dest="checkpoint", type=Path, help="folder of a checkpoint; the newest whole one by default")
    command.set_defaults(command=resume)
