"""Which runs a form asks for: every combination of values, each with the same seeds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import recipes
from trainer.spec import SpecError, load, to_dict
from webapp.experiments.plan import MOST_RUNS, Varied, plan

SPEC = to_dict(recipes.load("paced").spec("small"))
ALPHA = "pool.weighting.alpha"
RATE = "stages.0.optimiser.learning_rate"


def issues(varied: list[Varied], repeats: int = 1) -> list[str]:
    with pytest.raises(SpecError) as caught:
        plan(SPEC, varied, repeats)
    return [str(issue) for issue in caught.value.issues]


def test_every_combination_has_every_seed() -> None:
    made = plan(SPEC, [Varied(ALPHA, "0.5, 2"), Varied(RATE, "1e-4, 3e-4, 1e-3")], 2)
    assert made.sentence == "12 runs: 6 arms with 2 seeds each."
    assert made.arms[0].name == "alpha = 0.5, learning_rate = 0.0001"
    settings_of_runs = {
        (
            run.definition["pool"]["weighting"]["alpha"],
            run.definition["stages"][0]["optimiser"]["learning_rate"],
            run.definition["seed"],
        )
        for run in made.runs
    }
    seeds = (SPEC["seed"], SPEC["seed"] + 1)
    assert settings_of_runs == {
        (alpha, rate, seed) for alpha in (0.5, 2) for rate in (1e-4, 3e-4, 1e-3) for seed in seeds
    }
    assert len({run.definition["name"] for run in made.runs}) == 12


def test_repeated_runs_differ_in_seed_and_name_alone() -> None:
    made = plan(SPEC, [], 3)
    assert made.sentence == "3 runs: 3 seeds."
    definitions = [dict(run.definition) for run in made.runs]
    assert [definition.pop("seed") for definition in definitions] == [0, 1, 2]
    assert definitions[2].pop("name").endswith(" · seed 2")
    assert all(
        definition | {"name": ""} == definitions[0] | {"name": ""} for definition in definitions
    )


def test_another_kind_of_section_begins_with_its_own_defaults() -> None:
    made = plan(SPEC, [Varied("pool.weighting.kind", "paced, uniform")], 1)
    assert [arm.name for arm in made.arms] == ["weighting = paced", "weighting = uniform"]
    assert made.runs[1].definition["pool"]["weighting"] == {"kind": "uniform"}


def test_values_may_be_lists_and_whole_sections() -> None:
    made = plan(
        SPEC,
        [
            Varied("evaluation.pass_at", "[1], [1, 2]"),
            Varied("pool.weighting", "{kind: uniform}, {kind: paced, alpha: 3}"),
        ],
        1,
    )
    assert made.runs[-1].definition["evaluation"]["pass_at"] == [1, 2]
    assert made.runs[-1].definition["pool"]["weighting"]["alpha"] == 3


@pytest.mark.parametrize(
    ("path", "values", "sentence"),
    [
        ("", "1", "must name a setting"),
        ("seed", "1, 2", "cannot be seed, which the experiment sets"),
        ("name", "a, b", "cannot be name"),
        ("pool.weighting.alhpa", "1, 2", "nearest: pool.weighting.alpha"),
        ("learning_rate", "1, 2", "nearest: stages.0.optimiser.learning_rate"),
        ("pool.nothing.here", "1, 2", "no setting"),
        ("stages.7.optimiser.learning_rate", "1e-3", "no setting"),
        ("stages.x", "1", "no setting"),
        (ALPHA, "", "must have values"),
        (ALPHA, "1, [", "cannot be read"),
        (ALPHA, "1, 1", "have 1 twice"),
        (ALPHA, "-1, 1", "for alpha = -1"),
        (ALPHA, "fast", "for alpha = fast"),
        (ALPHA, ", ".join(map(str, range(1, MOST_RUNS + 2))), "combinations"),
        (ALPHA, "1," * 2_000, "characters"),
    ],
)
def test_what_cannot_vary_is_refused_beside_its_field(
    path: str, values: str, sentence: str
) -> None:
    [issue, *_] = issues([Varied(path, values)])
    assert sentence in issue and issue.startswith("vary.0.")


def test_a_setting_varies_in_one_row_only() -> None:
    assert "varies already" in issues([Varied(ALPHA, "1"), Varied(ALPHA, "2")])[0]


@pytest.mark.parametrize("repeats", [0, -3, 51])
def test_the_number_of_seeds_is_bounded(repeats: int) -> None:
    assert issues([], repeats) == ["repeats must be a whole number from 1 to 50"]


def test_the_number_of_runs_is_bounded() -> None:
    assert "makes 150 runs" in issues([Varied(ALPHA, "1, 2, 3")], 50)[0]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.integers(1, 3))
def test_any_text_is_planned_or_refused(path: str, values: str, repeats: int) -> None:
    try:
        runs = plan(SPEC, [Varied(path, values)], repeats).runs
    except SpecError as error:
        runs = ()
        problems = [issue for issue in error.issues if not issue.path or not issue.message]
        assert not problems
    assert all(load(run.definition) for run in runs)
