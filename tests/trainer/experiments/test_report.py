"""From event logs to verdicts, a page and figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.trainer.experiments.test_definition import SMALL
from trainer.events import EventLog
from trainer.experiments import RESULTS
from trainer.experiments.definition import Contrast, Experiment, Side
from trainer.experiments.folders import run_folder
from trainer.experiments.outcomes import Change, Outcome, differences, value
from trainer.experiments.report import earlier_outcomes, merge_outcomes, write
from trainer.experiments.run import outcomes
from trainer.experiments.run_log import outcome

EXPERIMENT = Experiment.model_validate(SMALL)
GAIN = {"a": 0.2, "b": 0.1}


def events(curve: Sequence[tuple[int, int, float]]) -> list[dict[str, Any]]:
    """Events of a run whose metric m has these (step, tokens, value); compute is tokens / 10."""
    start = {"type": "environment", "commit": "c0ffee"}
    return [
        start,
        *(
            {
                "type": "metrics",
                "step": s,
                "tokens": t,
                "compute": t / 10,
                "values": {"m": v, "other": 1},
            }
            for s, t, v in curve
        ),
    ]


def measured(arm: str, seed: int, curve: Sequence[tuple[int, int, float]]) -> Outcome:
    return outcome(EXPERIMENT, arm, seed, events(curve))


def pair(seed: int, noise: float = 0.0) -> list[Outcome]:
    return [
        measured(arm, seed, [(0, 0, 0.3), (10, 100, 0.3 + gain + noise)])
        for arm, gain in GAIN.items()
    ]


def test_differences_pair_the_seeds_that_both_arms_have() -> None:
    contrast = EXPERIMENT.claims[0]
    assert differences(contrast, [*pair(0), *pair(1), pair(2)[0]]) == {
        0: pytest.approx(0.1),
        1: pytest.approx(0.1),
    }


def test_a_number_can_be_a_side() -> None:
    contrast = Contrast(
        says="m is below a half.", of=0.5, minus=Side(arm="b", metric="m"), interest=0.1
    )
    assert differences(contrast, pair(0)) == {0: pytest.approx(0.1)}


def test_at_equal_tokens_the_longer_run_is_read_where_the_shorter_ends() -> None:
    longer = measured("a", 0, [(0, 0, 0.3), (10, 100, 0.5), (20, 200, 0.9)])
    shorter = measured("b", 0, [(0, 0, 0.3), (20, 150, 0.4)])
    contrast = EXPERIMENT.claims[0].model_copy(update={"at": "equal_tokens"})
    assert differences(contrast, [longer, shorter]) == {0: pytest.approx(0.7 - 0.4)}
    assert value(longer, Side(arm="a", metric="m"), "equal_compute", 2.5) == pytest.approx(0.35)


def test_a_metric_that_was_not_measured_is_named() -> None:
    contrast = Contrast(says="", of=Side(arm="a", metric="n"), minus=0.0, interest=0.1)
    with pytest.raises(KeyError, match="the run of a with seed 0 has no n after its training"):
        differences(contrast, pair(0))


def test_the_report_says_what_the_numbers_are(tmp_path: Path) -> None:
    write(EXPERIMENT, [*pair(0), *pair(1, 0.01), *pair(2, -0.01)], tmp_path)
    record = json.loads((tmp_path / "small" / "results.json").read_text())
    [claim] = record["claims"]
    assert (claim["verdict"], len(record["runs"]), record["seeds"]) == ("shown", 6, [0, 1, 2])
    assert claim["estimate"]["mean"] == pytest.approx(0.1) and list(
        claim["differences"].values()
    ) == pytest.approx([0.1] * 3)
    page = (tmp_path / "small" / "report.md").read_text()
    assert "| A is better. | a `m` − b `m` | +0.100 |" in page and record["command"] in page
    assert "| A | 10 | 100 | 1.00e+01 | – | – | 0.500 ± 0.010 (0.300) |" in page


def test_a_report_lists_both_intervals_and_both_p_values_of_claims_only(tmp_path: Path) -> None:
    claim = SMALL["claims"][0]
    no_worse = {key: claim[key] for key in ("says", "of", "minus")} | {"above": -0.03}
    experiment = Experiment.model_validate(
        SMALL | {"claims": [claim, no_worse], "explored": [claim]}
    )
    # Differences 0.09, 0.1 and 0.11: t = 0.1 / 0.0057735 = 17.32 with two degrees of freedom.
    write(
        experiment,
        [
            measured(arm, seed, [(0, 0, 0.3), (10, 100, 0.3 + gain)])
            for seed, gains in enumerate(((0.09, 0.0), (0.1, 0.0), (0.11, 0.0)))
            for arm, gain in zip("ab", gains, strict=True)
        ],
        tmp_path,
    )
    page = (tmp_path / "small" / "report.md").read_text()
    first, second, explored = (line for line in page.splitlines() if line.startswith("| A is"))
    assert "| [+0.075, +0.125] | [+0.064, +0.136] | 0.003 | 0.004 | above 0 | 0.1 |" in first
    assert "| 0.002 | 0.004 | above -0.03 | – |" in second
    assert "**no worse than the bound: shown**" in second
    assert "| [+0.075, +0.125] | – | 0.003 | – |" in explored
    assert "## Explored beside the claims, not adjusted for their number" in page
    record = json.loads((tmp_path / "small" / "results.json").read_text())
    assert record["claims"][1]["words"] == "no worse than the bound: shown"
    assert record["claims"][0]["adjusted_interval"] == pytest.approx([0.0642, 0.1358], abs=1e-4)
    assert record["explored"][0]["adjusted_p"] is None


def test_a_report_lists_the_change_of_every_seed_and_what_clipping_and_time_were(
    tmp_path: Path,
) -> None:
    runs = [
        replace(
            run,
            changes={"m": Change(0.1 * run.seed, -0.01, 0.2, 300)},
            clipped_share=0.25 * (1 + run.seed),
            cpu_minutes=1.0 + run.seed,
        )
        for run in (*pair(0), *pair(1))
    ]
    write(EXPERIMENT, runs, tmp_path)
    page = (tmp_path / "small" / "report.md").read_text()
    assert "| `m` | A | +0.000 [-0.010, +0.200] | +0.100 [-0.010, +0.200] |" in page
    assert "| A | 10 | 100 | 1.00e+01 | 1.5 | 38% |" in page
    assert earlier_outcomes(EXPERIMENT, tmp_path) == runs
    write(EXPERIMENT, [*pair(0), *pair(1)], tmp_path)
    assert "## Per seed" not in (tmp_path / "small" / "report.md").read_text()


def test_a_record_of_an_earlier_version_is_still_an_outcome() -> None:
    record = json.loads((RESULTS / "opsd" / "results.json").read_text())["runs"][0]
    for added in ("changes", "clipped_share", "cpu_minutes"):
        record.pop(added, None)
    for point in record["curves"]["eval/pass_rate"]:
        point.pop("problems", None)
    run = Outcome.of_record(record)
    assert (run.changes, run.clipped_share, run.cpu_minutes) == ({}, None, None)


def test_a_report_says_which_of_the_planned_seeds_were_carried_out(tmp_path: Path) -> None:
    write(EXPERIMENT, pair(0), tmp_path)
    page = (tmp_path / "small" / "report.md").read_text()
    assert (
        "with seeds 0 (planned: 0, 1), with the program of c0ffee" in page
        and "fewer than two seeds" in page
    )


def test_the_figures_hold_every_difference_and_every_run(tmp_path: Path) -> None:
    write(EXPERIMENT, [*pair(0), *pair(1)], tmp_path)
    contrasts = ElementTree.parse(tmp_path / "small" / "contrasts.svg")
    assert len(contrasts.findall(".//{*}circle[@class='dot']")) == 2
    curves = ElementTree.parse(tmp_path / "small" / "curves.svg")
    assert len(curves.findall(".//{*}polyline")) == 2 * 2 + 2


def test_arms_that_share_their_start_share_what_was_measured_there(tmp_path: Path) -> None:
    experiment = Experiment.model_validate(SMALL | {"shares_start": True})
    for arm, curve in {"a": [(0, 0, 0.3), (10, 100, 0.5)], "b": [(10, 100, 0.4)]}.items():
        with closing(
            EventLog(
                run_folder(tmp_path, experiment.name, arm, 0) / "attempts" / "1" / "events",
                attempt=1,
            )
        ) as log:
            for event in events(curve):
                log.emit(event.pop("type"), **event)
            log.emit("end", outcome="completed", reason="All steps are done.", remedy="")
    assert [outcome.before for outcome in outcomes(experiment, tmp_path)] == [
        {"m": 0.3},
        {"m": 0.3},
    ]


def test_seeds_of_the_search_are_no_part_of_the_results(tmp_path: Path) -> None:
    for seed in (0, 100):
        with closing(
            EventLog(
                run_folder(tmp_path, EXPERIMENT.name, "a", seed) / "attempts" / "1" / "events",
                attempt=1,
            )
        ) as log:
            log.emit("end", outcome="completed", reason="All steps are done.", remedy="")
    assert [seed_run.seed for seed_run in outcomes(EXPERIMENT, tmp_path)] == [0]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no completed run of small; run it first"):
        outcomes(EXPERIMENT, tmp_path)


def test_a_report_keeps_the_runs_of_an_earlier_one(tmp_path: Path) -> None:
    """Seeds may be run in several sittings, on several machines."""
    three = EXPERIMENT.model_copy(update={"seeds": (0, 1, 2)})
    earlier = [*pair(0), *pair(1)]
    write(three, earlier, tmp_path)
    assert earlier_outcomes(three, tmp_path) == earlier
    repeated, more = pair(1, noise=0.05), pair(2)
    assert merge_outcomes(three, earlier, [*more, *repeated]) == [*pair(0), *repeated, *more]


def test_runs_of_another_definition_or_of_seeds_that_are_not_planned_are_not_taken_over(
    tmp_path: Path,
) -> None:
    write(EXPERIMENT, [*pair(0), *pair(1)], tmp_path)
    changed_experiment = Experiment.model_validate(SMALL | {"changes": {"data.train.count": 41}})
    assert earlier_outcomes(changed_experiment, tmp_path) == []
    fewer = EXPERIMENT.model_copy(update={"seeds": (1,), "reading": "Nothing."})
    assert earlier_outcomes(fewer, tmp_path) == pair(1)
    assert earlier_outcomes(EXPERIMENT, tmp_path / "elsewhere") == []
