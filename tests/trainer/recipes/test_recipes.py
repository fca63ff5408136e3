"""Published systems as data: every preset can run, and says which numbers are the paper's."""

from __future__ import annotations

import pytest

from trainer import recipes

PRESETS = [(name, preset) for name in recipes.names() for preset in recipes.load(name).presets]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_is_a_definition_that_can_run(name: str, preset: str) -> None:
    spec = recipes.load(name).spec(preset)
    assert spec.recipe == name
    assert spec.total_steps > 0


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_says_what_it_claims_and_where_this_was_read(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.summary.count(". ") == 2, "three sentences"
    assert recipe.paper.arxiv in recipe.paper.url
    assert all(claim.figures and claim.source for claim in recipe.claims)


def test_paced_starts_from_the_papers_settings() -> None:
    spec = recipes.load("paced").spec("paper")
    assert spec.pool.rollouts_per_problem == 8
    assert spec.pool.weighting.model_dump() == {
        "kind": "paced",
        "alpha": 1.0,
        "beta": 1.0,
        "floor": 0.0,
    }
    forward, reverse = spec.stages
    assert (forward.source, forward.objective.kind) == ("teacher_written", "forward_kl")
    assert (reverse.source, reverse.objective.kind) == ("student_rollouts", "reverse_kl")
    assert forward.until.steps == reverse.until.steps


def test_an_unknown_recipe_or_preset_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(KeyError, match="there is caopd, opsd, paced, tip"):
        recipes.load("../paced")
    with pytest.raises(KeyError, match="it has paper, sample"):
        recipes.load("paced").spec("own")
