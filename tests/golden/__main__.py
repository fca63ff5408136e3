"""`python -m tests.golden record|compare [recipe …]`: whether a refactoring kept the numbers.

`record` runs each recipe and writes what it measured to `recordings/`; `compare` runs it again and
exits with 1 if a number differs. All four recipes take about two minutes on one core.
Record only where a change of the numbers is intended, and say in the commit why.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.golden import recording
from tests.golden.comparison import Comparison, Rule, compare, header_differences, rule_for
from tests.golden.recording import Header, Recording
from tests.golden.runs import RunError, recipes, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if all went well, 1 if a number differs or a run failed."""
    options = _parser().parse_args(arguments)
    recipe_names = recipes()
    if unknown := set(options.recipes) - set(recipe_names):
        print(
            f"There is no recipe {', '.join(sorted(unknown))}; there are {', '.join(recipe_names)}."
        )
        return 1
    header = recording.header()
    command = record_recipe if options.command == "record" else compare_recipe
    failed = 0
    for recipe in options.recipes or recipe_names:
        try:
            failed += not command(recipe, header)
        except RunError as error:
            print(f"{recipe}: {error}", flush=True)
            failed += 1
    return int(failed > 0)


def record_recipe(recipe: str, header: Header) -> bool:
    started = time.monotonic()
    numbers = run(recipe)
    recorded = Recording(header, round(time.monotonic() - started, 1), numbers)
    recording.save(recorded, recording.path_of(recipe))
    values = sum(len(reading.values) for readings in numbers.values() for reading in readings)
    print(
        f"{recipe}: recorded {len(numbers)} metrics, {values:,} values, {recorded.seconds} s",
        flush=True,
    )
    return True


def compare_recipe(recipe: str, header: Header) -> bool:
    """Whether the recipe's numbers are as recorded; prints what was compared and what differs."""
    path = recording.path_of(recipe)
    if not path.exists():
        print(f"{recipe}: no recording. First run `python -m tests.golden record {recipe}`.")
        return False
    recorded = recording.load(path)
    rule = rule_for(recorded.header, header)
    started = time.monotonic()
    comparison = compare(recorded.numbers, run(recipe), rule)
    print(report(recipe, comparison, rule, header_differences(recorded.header, header)))
    seconds = time.monotonic() - started
    print(f"  took {seconds:.1f} s; {recorded.seconds} s when recorded", flush=True)
    return not comparison.differences


def report(
    recipe: str, comparison: Comparison, rule: Rule, header_changes: Sequence[str] = ()
) -> str:
    """What was compared, how closely and why, and the first difference."""
    count = len(comparison.differences)
    outcome = f"{count:,} differ, first at {comparison.differences[0]}" if count else "all the same"
    lines = [
        f"{recipe}: {comparison.keys} metrics, {comparison.values:,} values: {outcome}",
        f"  compared: {rule.description}",
    ]
    if header_changes:
        lines.append(f"  because this machine is not as recorded: {'; '.join(header_changes)}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.golden", description=__doc__)
    parser.add_argument("command", choices=("record", "compare"))
    parser.add_argument("recipes", nargs="*", metavar="recipe", help="all recipes by default")
    return parser


if __name__ == "__main__":
    sys.exit(main())
