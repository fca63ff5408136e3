"""The report of an experiment: `results.json`, `report.md` and two figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.experiments import figures
from trainer.experiments.definition import Contrast, Experiment, Side
from trainer.experiments.outcomes import Change, Outcome, mean_and_spread
from trainer.experiments.verdicts import Finding, Findings, findings

# Fields of a definition that may change without making its runs different ones: more seeds may be
# planned later, costs may be measured again, and the reading is written after the runs.
AFTERWARDS = {"seeds": None, "cpu_minutes": None, "reading": None}


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
    is_same = is_same_definition(experiment, record["definition"])
    runs = [Outcome.of_record(run) for run in record["runs"]] if is_same else []
    return [run for run in runs if run.seed in experiment.seeds]


def is_same_definition(experiment: Experiment, stored: Mapping[str, Any]) -> bool:
    """Whether runs of a stored definition measure the same as those of the experiment."""
    return {**experiment.model_dump(mode="json"), **AFTERWARDS} == {**stored, **AFTERWARDS}


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
        "Intervals are 95 %, Student's t over paired seeds. *p* is two-sided, against the bound; "
        "a verdict needs p ≤ 0.05. Of claims"
    )
    yield (
        "it is *p, Holm* that counts, adjusted for their number, and Bonferroni's interval is the "
        "95 % one of all claims together. *Could have"
    )
    yield "seen* is the smallest true difference that four of five repetitions would have found.\n"
    for title, section in (
        ("Preconditions", judged.gates),
        ("Claims", judged.claims),
        ("Explored beside the claims, not adjusted for their number", judged.explored),
    ):
        if section:
            yield f"## {title}\n"
            yield from _contrasts(section)
    yield "![Differences with their intervals](contrasts.svg)\n"
    yield "## Arms\n"
    yield from _arms(experiment, outcomes)
    yield f"![{experiment.curve} over tokens](curves.svg)\n"
    yield from _changes(experiment, outcomes)


def _contrasts(section: Sequence[Finding]) -> Iterator[str]:
    yield (
        "| contrast | difference | mean | 95 % interval | Bonferroni | p | p, Holm | holds | of "
        "interest | could have seen | verdict |"
    )
    yield "|---" * 11 + "|"
    for finding in section:
        yield "| " + " | ".join(_cells(finding)) + " |"
    yield ""


def _cells(finding: Finding) -> list[str]:
    contrast, estimate = finding.contrast, finding.estimate
    if estimate:
        numbers = [f"{estimate.mean:+.3f}", _interval((estimate.low, estimate.high))]
    else:
        listed = ", ".join(f"{difference:+.3f}" for difference in finding.differences.values())
        numbers = [listed or "–", "fewer than two seeds"]
    return [
        contrast.says,
        describe(contrast),
        *numbers,
        _interval(finding.adjusted_interval),
        _p(finding.p),
        _p(finding.adjusted_p),
        _bound(contrast),
        f"{contrast.interest:g}" if contrast.interest is not None else "–",
        f"{estimate.detectable:.3f}" if estimate else "–",
        f"**{finding.words}**" + (f"; {finding.remark}" if finding.remark else ""),
    ]


def _interval(interval: tuple[float, float] | None) -> str:
    return f"[{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else "–"


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _bound(contrast: Contrast) -> str:
    """Where a contrast holds."""
    text = (
        f"above {contrast.above:g}" if contrast.within is None else f"within ±{contrast.within:g}"
    )
    return f"{text} in each seed" if contrast.each_seed else text


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
        "counted as docs/engine.md says. *Clipped*"
    )
    yield (
        "is the share of the steps whose gradient was longer than the clip norm: arms with equal "
        "mean weights take equal steps only where that"
    )
    yield "share is equal too.\n"
    columns = ["arm", "steps", "tokens", "operations", "CPU-minutes", "clipped"]
    yield f"| {' | '.join([*columns, *experiment.watched])} |"
    yield "|---" * (len(columns) + len(experiment.watched)) + "|"
    for name, arm in experiment.arms.items():
        runs = [outcome for outcome in outcomes if outcome.arm == name]
        if runs:
            cells = [
                f"{runs[0].step}",
                f"{mean_and_spread(outcome.tokens for outcome in runs)[0]:,.0f}",
                f"{mean_and_spread(outcome.compute for outcome in runs)[0]:.2e}",
                _mean([outcome.cpu_minutes for outcome in runs], "{:.1f}"),
                _mean([outcome.clipped_share for outcome in runs], "{:.0%}"),
                *(_measured(runs, metric) for metric in experiment.watched),
            ]
            yield f"| {arm.title} | {' | '.join(cells)} |"
    yield ""


def _mean(values: Sequence[float | None], form: str) -> str:
    """The mean of the values that were measured."""
    measured = [value for value in values if value is not None]
    return form.format(mean_and_spread(measured)[0]) if measured else "–"


def _measured(runs: Sequence[Outcome], metric: str) -> str:
    after = [outcome.after[metric] for outcome in runs if metric in outcome.after]
    before = [outcome.before[metric] for outcome in runs if metric in outcome.before]
    if not after:
        return "–"
    mean, deviation = mean_and_spread(after)
    return f"{mean:.3f} ± {deviation:.3f}" + (
        f" ({mean_and_spread(before)[0]:.3f})" if before else ""
    )


def _changes(experiment: Experiment, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A section with every seed's changes of the watched pass rates; empty without any."""
    seeds = sorted({outcome.seed for outcome in outcomes})
    by_run = {(outcome.arm, outcome.seed): outcome.changes for outcome in outcomes}
    watched = [
        metric
        for metric in experiment.watched
        if any(metric in changes for changes in by_run.values())
    ]
    if not watched:
        return
    yield "## Per seed\n"
    yield (
        "Change from the untrained student of the same seed on the same problems, with its 95 % "
        "interval by bootstrap over problems, which"
    )
    yield "does not hold the variation between trainings.\n"
    yield f"| pass rate | arm | {' | '.join(f'seed {seed}' for seed in seeds)} |"
    yield "|---" * (2 + len(seeds)) + "|"
    for metric in watched:
        for name, arm in experiment.arms.items():
            cells = [_change(by_run.get((name, seed), {}).get(metric)) for seed in seeds]
            yield f"| `{metric}` | {arm.title} | {' | '.join(cells)} |"
    yield ""


def _change(change: Change | None) -> str:
    return f"{change.difference:+.3f} {_interval((change.low, change.high))}" if change else "–"
