"""The pages of the published systems."""

from __future__ import annotations

import pytest
from django.utils.html import escape

from tests.webapp.runs.test_form_page import as_
from trainer import recipes
from webapp.teams.models import User

pytestmark = pytest.mark.django_db


def test_every_recipe_is_listed_with_a_start(bob: User) -> None:
    page = as_(bob).get("/recipes/").content.decode()
    for name in recipes.names():
        assert f"/recipes/{name}/" in page and f"/runs/new/?recipe={name}" in page


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_tells_its_equation_figure_claims_and_settings(bob: User, name: str) -> None:
    recipe = recipes.load(name)
    page = as_(bob).get(f"/recipes/{name}/").content.decode()
    for said in (recipe.summary, recipe.equation, recipe.watch, *(claim.figures for claim in recipe.claims)):
        assert escape(said) in page
    for preset in recipe.presets:
        assert f"/runs/new/?recipe={name}&amp;preset={preset}" in page


@pytest.mark.parametrize("name", ["nothing", "__init__", "paced-yaml"])
def test_an_unknown_recipe_is_not_found(bob: User, name: str) -> None:
    assert as_(bob).get(f"/recipes/{name}/").status_code == 404
