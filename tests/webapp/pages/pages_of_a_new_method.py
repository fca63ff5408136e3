"""The pages of the recipe of `docs/add-a-method.md`.

`tests/extension/test_guide.py` runs this file in a copy of the project that has the recipe.
"""

from __future__ import annotations

import pytest
from django.utils.html import escape

from tests.webapp.pages.test_new_run import as_, posted
from trainer import recipes
from trainer.spec import to_dict
from webapp.access.models import User
from webapp.runs import leases
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db
WORDS = escape("Jeffreys' divergence to the teacher")


def test_the_form_offers_and_summarises_the_mechanisms(alice: User) -> None:
    page = as_(alice).get("/runs/new/?recipe=jeffreys&preset=small").content.decode()
    assert "Ready to start" in page and WORDS in page
    assert 'name="stages.0.objective.gamma"' in page and "Share of forward KL." in page
    assert "The sum of the reverse and the forward KL divergence." in page
    assert 'value="varied"' in page


def test_a_run_starts_from_the_form_and_has_its_page(alice: User) -> None:
    client = as_(alice)
    definition = to_dict(recipes.load("jeffreys").spec("small"))
    assert client.post("/runs/new/", posted(definition)).status_code == 302
    run = Run.objects.get()
    assert run.spec is not None and run.spec["stages"] == definition["stages"]
    leases.claim(run.pk, "host-a")
    for tab in ("", "config/", "tokens/"):
        page = client.get(f"/runs/{run.public_id}/{tab}")
        assert page.status_code == 200


def test_the_recipe_has_a_page(alice: User) -> None:
    page = as_(alice).get("/recipes/jeffreys/").content.decode()
    assert WORDS in page and "Jeffreys" in page
