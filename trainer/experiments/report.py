"""The report of an experiment: `results.json`, `report.md` and two figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from trainer.experiments import figures
from trainer.experiments.definition import Contrast, Experiment, Side
from trainer.experiments.outcomes import Outcome, mean_and_spread
from trainer.experiments.verdicts import Finding, Findings, findings

# Fields of a definition that may change without making its runs different ones: more seeds may be
# planned later, and the reading is written after the runs.
AFTERWARDS = {"seeds": None, "reading": None}


def write(experiment: Experiment, outcomes: Sequence[Outcome], out: Path) -> None:
    """Write `<out>/<name>/`: results.json, report.md, contrasts.svg and curves.svg."""
    judged, folder = findings(experiment, outcomes), out / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "name": experiment.name,
        "recipe": experiment.recipe,
        "title": experiment.title,
        "command": command(experiment),
        "definition": experiment.model_dump(mode="json"),
        "seeds": sorted({outcome.seed for outcome in outcomes}),
        **{
            section: [finding.record() for finding in getattr(judged, section)]
            for section in ("gates", "claims", "explored")
        },
        "runs": [asdict(outcome) for outcome in outcomes],
    }
    (folder / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(
        "\n".join(_pages(experiment, judged, outcomes)), encoding="utf-8"
    )
    (folder / "contrasts.svg").write_text(
        figures.contrasts([*judged.gates, *judged.claims, *judged.explored]), encoding="utf-8"
    )
    titles = {name: arm.title for name, arm in experiment.arms.items()}
    (folder / "curves.svg").write_text(
        figures.curves(experiment.curve, titles, outcomes), encoding="utf-8"
    )


def earlier_outcomes(experiment: Experiment, out: Path) -> list[Outcome]:
    """The runs of planned seeds in an earlier report in `out` of the same definition."""
    try:
        record = json.loads((out / experiment.name / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    # Runs of another definition measure something else, so they are not mixed with new ones.
    now, then = (
        {**definition, **AFTERWARDS}
        for definition in (experiment.model_dump(mode="json"), record["definition"])
    )
    runs = [Outcome.of_record(run) for run in record["runs"]] if now == then else []
    return [run for run in runs if run.seed in experiment.seeds]


def merge_outcomes(
    experiment: Experiment, earlier: Sequence[Outcome], new: Sequence[Outcome]
) -> list[Outcome]:
    """Each (arm, seed) once, ordered by seeds and arms; a new run replaces an earlier one."""
    outcome_by_run = {(outcome.seed, outcome.arm): outcome for outcome in (*earlier, *new)}
    return [
        outcome_by_run[key]
        for seed in experiment.seeds
        for arm in experiment.arms
        if (key := (seed, arm)) in outcome_by_run
    ]


def command(experiment: Experiment) -> str:
    program = ".venv/bin/python -m trainer.experiments"
    return (
        f"{program} run {experiment.name} --dir DIR && {program} report {experiment.name} --dir DIR"
    )


def _pages(experiment: Experiment, judged: Findings, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"# {experiment.title}\n"
    yield (
        f"Made by `{command(experiment)}` from "
        f"`trainer/experiments/definitions/{experiment.name}.yaml`.\n"
    )
    yield f"{experiment.about}\n"
    yield f"**How the setting was found.** {experiment.searched}\n"
    done, planned = sorted({outcome.seed for outcome in outcomes}), experiment.seeds
    missing = "" if set(done) == set(planned) else f" (planned: {', '.join(map(str, planned))})"
    commits = sorted(
        {outcome.commit[:10] if outcome.commit else "an unknown commit" for outcome in outcomes}
    )
    yield (
        f"**Carried out** with seeds {', '.join(map(str, done))}{missing}, "
        f"with the program of {', '.join(commits)}."
    )
    yield (
        "Intervals are 95 %, Student's t over paired seeds. *Could have seen* is the smallest "
        "true difference that four of five"
    )
    yield "repetitions would have found.\n"
    for title, section in (
        ("Preconditions", judged.gates),
        ("Claims", judged.claims),
        ("Explored beside the claims", judged.explored),
    ):
        if section:
            yield f"## {title}\n"
            yield from _contrasts(section)
    yield "![Differences with their intervals](contrasts.svg)\n"
    yield "## Arms\n"
    yield from _arms(experiment, outcomes)
    yield f"![{experiment.curve} over tokens](curves.svg)\n"


def _contrasts(section: Sequence[Finding]) -> Iterator[str]:
    yield (
        "| contrast | difference | mean | 95 % interval | holds above | of interest | could "
        "have seen | verdict |"
    )
    yield "|---" * 8 + "|"
    for finding in section:
        yield "| " + " | ".join(_cells(finding)) + " |"
    yield ""


def _cells(finding: Finding) -> list[str]:
    contrast, estimate = finding.contrast, finding.estimate
    if estimate:
        numbers = [f"{estimate.mean:+.3f}", f"[{estimate.low:+.3f}, {estimate.high:+.3f}]"]
    else:
        listed = ", ".join(f"{difference:+.3f}" for difference in finding.differences.values())
        numbers = [listed or "–", "fewer than two seeds"]
    detectable = f"{estimate.detectable:.3f}" if estimate else "–"
    verdict = f"**{finding.verdict}**" + (f"; {finding.remark}" if finding.remark else "")
    return [
        contrast.says,
        describe(contrast),
        *numbers,
        f"{contrast.above:+g}",
        f"{contrast.interest:g}",
        detectable,
        verdict,
    ]


def describe(contrast: Contrast) -> str:
    """`of` − `minus` in words, and where they are compared."""
    axis = {"end": "", "equal_compute": ", at equal compute", "equal_tokens": ", at equal tokens"}[
        contrast.at
    ]
    return f"{_side(contrast.of)} − {_side(contrast.minus)}{axis}"


def _side(side: Side | float) -> str:
    if not isinstance(side, Side):
        return f"{side:g}"
    return f"{side.arm} `{side.metric}`{' before training' if side.when == 'before' else ''}"


def _arms(experiment: Experiment, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield (
        "Mean over the seeds ± standard deviation, after training (before it); operations are "
        "counted as docs/engine.md says.\n"
    )
    yield f"| arm | steps | tokens | operations | {' | '.join(experiment.watched)} |"
    yield "|---" * (4 + len(experiment.watched)) + "|"
    for name, arm in experiment.arms.items():
        runs = [outcome for outcome in outcomes if outcome.arm == name]
        if runs:
            cells = [
                f"{runs[0].step}",
                f"{mean_and_spread(outcome.tokens for outcome in runs)[0]:,.0f}",
                f"{mean_and_spread(outcome.compute for outcome in runs)[0]:.2e}",
                *(_measured(runs, metric) for metric in experiment.watched),
            ]
            yield f"| {arm.title} | {' | '.join(cells)} |"
    yield ""


def _measured(runs: Sequence[Outcome], metric: str) -> str:
    after = [outcome.after[metric] for outcome in runs if metric in outcome.after]
    before = [outcome.before[metric] for outcome in runs if metric in outcome.before]
    if not after:
        return "–"
    mean, deviation = mean_and_spread(after)
    return f"{mean:.3f} ± {deviation:.3f}" + (
        f" ({mean_and_spread(before)[0]:.3f})" if before else ""
    )
