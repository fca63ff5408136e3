"""Writing down what an experiment showed: `results.json` for programs, `report.md` and two figures
for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.experiments import figures
from trainer.experiments.definition import Contrast, Experiment, Side
from trainer.experiments.findings import Finding, Findings, findings, mean_and_spread
from trainer.experiments.measures import Outcome

AFTERWARDS = {"seeds": None, "reading": None}
"""What of a definition may change without making its runs others."""


def write(experiment: Experiment, outcomes: Sequence[Outcome], out: Path) -> None:
    """Write `<out>/<name>/`: results.json, report.md, contrasts.svg and curves.svg."""
    found, folder = findings(experiment, outcomes), out / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "name": experiment.name, "recipe": experiment.recipe, "title": experiment.title, "command": command(experiment),
        "definition": experiment.model_dump(mode="json"),
        "seeds": sorted({each.seed for each in outcomes}),
        **{part: [finding.record() for finding in getattr(found, part)] for part in ("gates", "claims", "explored")},
        "runs": [each.record() for each in outcomes],
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(
        "\n".join(_pages(experiment, found, outcomes)), encoding="utf-8"
    )
    (folder / "contrasts.svg").write_text(
        figures.contrasts([*found.gates, *found.claims, *found.explored]), encoding="utf-8"
    )
    titles = {name: arm.title for name, arm in experiment.arms.items()}
    (folder / "curves.svg").write_text(
        figures.curves(experiment.curve, titles, outcomes), encoding="utf-8"
    )


def reported(experiment: Experiment, out: Path) -> list[Outcome]:
    """The runs of the planned seeds that an earlier report in `out` holds, if it is of the same
    definition.
    """
    try:
        record = json.loads((out / experiment.name / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    now, then = (
        {**given, **AFTERWARDS}
        for given in (experiment.model_dump(mode="json"), record["definition"])
    )
    runs = [Outcome.of_record(run) for run in record["runs"]] if now == then else []
    return [run for run in runs if run.seed in experiment.seeds]


def joined(
    experiment: Experiment, earlier: Sequence[Outcome], new: Sequence[Outcome]
) -> list[Outcome]:
    """Each (arm, seed) once, a new run in the place of an earlier one, in the order of seeds and
    arms.
    """
    found = {(one.seed, one.arm): one for one in (*earlier, *new)}
    return [
        found[place]
        for seed in experiment.seeds
        for arm in experiment.arms
        if (place := (seed, arm)) in found
    ]


def command(experiment: Experiment) -> str:
    program = ".venv/bin/python -m trainer.experiments"
    return (
        f"{program} run {experiment.name} --dir DIR && {program} report {experiment.name} --dir DIR"
    )


def _pages(experiment: Experiment, found: Findings, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"# {experiment.title}\n"
    yield f"Made by `{command(experiment)}` from `trainer/experiments/definitions/{experiment.name}.yaml`.\n"
    yield f"{experiment.about}\n"
    yield f"**How the setting was found.** {experiment.searched}\n"
    yield f"**Carried out** {_seeds(experiment, outcomes)}, with the program of {_commits(outcomes)}."
    yield "Intervals are 95 %, Student's t over paired seeds. *Could have seen* is the smallest true difference that four of five"
    yield "repetitions would have found.\n"
    for title, part in (
        ("Preconditions", found.gates),
        ("Claims", found.claims),
        ("Explored beside the claims", found.explored),
    ):
        if part:
            yield f"## {title}\n"
            yield from _contrasts(part)
    yield "![Differences with their intervals](contrasts.svg)\n"
    yield "## Arms\n"
    yield from _arms(experiment, outcomes)
    yield f"![{experiment.curve} over tokens](curves.svg)\n"


def _seeds(experiment: Experiment, outcomes: Sequence[Outcome]) -> str:
    done, wanted = sorted({each.seed for each in outcomes}), experiment.seeds
    few = "" if set(done) == set(wanted) else f" (planned: {', '.join(map(str, wanted))})"
    return f"with seeds {', '.join(map(str, done))}{few}"


def _commits(outcomes: Sequence[Outcome]) -> str:
    found = sorted({each.commit[:10] if each.commit else "an unknown commit" for each in outcomes})
    return ", ".join(found)


def _contrasts(part: Sequence[Finding]) -> Iterator[str]:
    yield "| contrast | difference | mean | 95 % interval | holds above | of interest | could have seen | verdict |"
    yield "|---" * 8 + "|"
    for finding in part:
        yield "| " + " | ".join(_cells(finding)) + " |"
    yield ""


def _cells(finding: Finding) -> list[str]:
    contrast, found = finding.contrast, finding.estimate
    numbers = (
        [f"{found.mean:+.3f}", f"[{found.low:+.3f}, {found.high:+.3f}]"]
        if found
        else [_listed(finding), "fewer than two seeds"]
    )
    seen = f"{found.detectable:.3f}" if found else "–"
    said = f"**{finding.verdict}**" + (f"; {finding.remark}" if finding.remark else "")
    return [
        contrast.says,
        described(contrast),
        *numbers,
        f"{contrast.above:+g}",
        f"{contrast.interest:g}",
        seen,
        said,
    ]


def _listed(finding: Finding) -> str:
    return ", ".join(f"{each:+.3f}" for each in finding.differences.values()) or "–"


def described(contrast: Contrast) -> str:
    """`of` − `minus` in words, and where they are compared."""
    place = {"end": "", "equal_compute": ", at equal compute", "equal_tokens": ", at equal tokens"}[
        contrast.at
    ]
    return f"{_side(contrast.of)} − {_side(contrast.minus)}{place}"


def _side(side: Side | float) -> str:
    if not isinstance(side, Side):
        return f"{side:g}"
    return f"{side.arm} `{side.metric}`{' before training' if side.when == 'before' else ''}"


def _arms(experiment: Experiment, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "Mean over the seeds ± standard deviation, after training (before it); operations are counted as docs/engine.md says.\n"
    yield f"| arm | steps | tokens | operations | {' | '.join(experiment.watched)} |"
    yield "|---" * (4 + len(experiment.watched)) + "|"
    for name, arm in experiment.arms.items():
        runs = [each for each in outcomes if each.arm == name]
        if runs:
            cost = [f"{runs[0].step}", f"{mean_and_spread(each.tokens for each in runs)[0]:,.0f}"]
            cost += [f"{mean_and_spread(each.compute for each in runs)[0]:.2e}"]
            yield f"| {arm.title} | {' | '.join([*cost, *(_measured(runs, metric) for metric in experiment.watched)])} |"
    yield ""


def _measured(runs: Sequence[Outcome], metric: str) -> str:
    after = [each.after[metric] for each in runs if metric in each.after]
    before = [each.before[metric] for each in runs if metric in each.before]
    if not after:
        return "–"
    mean, spread = mean_and_spread(after)
    return f"{mean:.3f} ± {spread:.3f}" + (f" ({mean_and_spread(before)[0]:.3f})" if before else "")
