"""The pages of the recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.utils.html import escape

from tests.webapp.pages.test_new_run import as_
from trainer import experiments, recipes
from trainer.experiments import definition
from webapp.access.models import User

pytestmark = pytest.mark.django_db


def test_every_recipe_is_listed_with_a_link_to_the_form(bob: User) -> None:
    page = as_(bob).get("/recipes/").content.decode()
    for name in recipes.names():
        assert f"/recipes/{name}/" in page and f"/runs/new/?recipe={name}" in page


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_shows_its_equation_metric_claims_and_presets(bob: User, name: str) -> None:
    recipe = recipes.load(name)
    page = as_(bob).get(f"/recipes/{name}/").content.decode()
    for text in (
        recipe.summary,
        recipe.equation,
        recipe.watch,
        *(claim.figures for claim in recipe.claims),
    ):
        assert escape(text) in page
    for preset in recipe.presets:
        assert f"/runs/new/?recipe={name}&amp;preset={preset}" in page


@pytest.mark.parametrize("name", ["nothing", "__init__", "paced-yaml"])
def test_an_unknown_recipe_is_not_found(bob: User, name: str) -> None:
    assert as_(bob).get(f"/recipes/{name}/").status_code == 404


@pytest.mark.parametrize("name", definition.names())
def test_results_are_explained_and_link_to_the_full_report(bob: User, name: str) -> None:
    client = as_(bob)
    if experiments.results(name) is None:
        return
    page = client.get(f"/recipes/{definition.load(name).recipe}/").content.decode()
    section = page[page.index(f'aria-labelledby="results-{name}"') :]
    section = section[: section.index("</section>")]
    reading = escape(definition.load(name).reading)
    assert "0.17 M parameters" in reading and section.index(reading) < section.index(
        'aria-label="Results'
    )
    assert f'href="/docs/results/{name}/report/"' in section
    assert "On the command line: <code>.venv/bin/python -m trainer.experiments run" in page


def test_the_results_of_an_experiment_are_shown_with_their_verdicts(
    bob: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate = {"mean": 0.031, "low": 0.012, "high": 0.05, "detectable": 0.02}
    contrast = {
        "says": "beats uniform",
        "verdict": "shown",
        "estimate": estimate,
        "interest": 0.021,
        "remark": "",
        "p": 0.004,
        "adjusted_p": 0.008,
        "adjusted_interval": [0.007, 0.056],
    }
    small_contrast = contrast | {
        "says": "beats little",
        "verdict": "shown, smaller than of interest",
        "words": "shown, smaller than of interest",
        "remark": "a difference of 0.1 is ruled out",
        "interest": 0.1,
    }
    no_worse = contrast | {
        "says": "forgets no more",
        "words": "no worse than the bound: shown",
        "interest": None,
    }
    gate = {
        "says": "the base can learn",
        "verdict": "not shown",
        "estimate": None,
        "interest": 0.05,
        "remark": "",
    }
    results = {
        "seeds": [0, 1, 2],
        "command": "python -m trainer.experiments run paced",
        "gates": [gate],
        "claims": [contrast, small_contrast, no_worse],
        "explored": [],
    }
    (tmp_path / "paced").mkdir()
    (tmp_path / "paced" / "results.json").write_text(json.dumps(results))
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    page = as_(bob).get("/recipes/paced/").content.decode()
    for text in (
        "beats uniform",
        "0.031",
        "0.012 to 0.050",
        "0.021",
        ">shown<",
        "of all claims 0.007 to 0.056",
        "0.004",
        "Holm 0.008",
        ">shown, smaller than of interest</span>",
        '<span class="badge good">no worse than the bound: shown</span>',
        "too few seeds",
        results["command"],
    ):
        assert str(text) in page
    assert "a difference of 0.1 is ruled out" in page
    assert (
        "What a small experiment here showed" not in as_(bob).get("/recipes/tip/").content.decode()
    )


def test_a_recipe_shows_all_its_experiments_the_main_one_first(
    bob: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = definition.load("paced")
    # Its name would come first by the alphabet.
    other = main.model_copy(update={"name": "also", "title": "Another one", "reading": "So?"})
    loaded = {"also": other, "paced": main}
    monkeypatch.setattr(definition, "names", lambda: sorted(loaded))
    monkeypatch.setattr(definition, "load", loaded.__getitem__)
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    for name in loaded:
        (tmp_path / name).mkdir()
        content = {"seeds": [0], "command": f"run {name}", "claims": []}
        (tmp_path / name / "results.json").write_text(json.dumps(content))
    page = as_(bob).get("/recipes/paced/").content.decode()
    shown = ["What a small experiment here showed", "run paced", ">Another one</h2>", "run also"]
    assert sorted(shown, key=page.index) == shown
    (tmp_path / "paced" / "results.json").unlink()
    page = as_(bob).get("/recipes/paced/").content.decode()
    assert "run also" in page and "run paced" not in page


@pytest.mark.parametrize("name", ["caopd", "opsd", "paced", "tip"])
def test_results_of_an_earlier_version_are_still_shown(
    bob: User, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have neither p-values nor intervals of all claims."""
    results = experiments.results(name)
    assert results
    for section in ("gates", "claims", "explored"):
        for contrast in results[section]:
            for added in ("kind", "words", "p", "adjusted_p", "adjusted_interval"):
                contrast.pop(added, None)
    (tmp_path / name).mkdir()
    (tmp_path / name / "results.json").write_text(json.dumps(results))
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    page = as_(bob).get(f"/recipes/{name}/").content.decode()
    for contrast in (*results["gates"], *results["claims"], *results["explored"]):
        assert escape(contrast["says"]) in page and f">{contrast['verdict']}</span>" in page
    assert "Holm 0" not in page and "of all claims –" not in page
