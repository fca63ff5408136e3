"""The documents as pages of the site."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from webapp.access.models import User
from webapp.pages.site import manual

pytestmark = pytest.mark.django_db


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("name", manual.names())
def test_every_document_is_listed_and_has_a_page_whose_links_lead_somewhere(
    bob: User, name: str
) -> None:
    client = as_(bob)
    assert f'href="/docs/{name}/"' in client.get("/docs/").content.decode()
    page = client.get(f"/docs/{name}/").content.decode()
    assert page.count("<h1>") == 1
    article = page[page.index("<article") : page.index("</article>")]
    for address in re.findall(r'(?:href|src)="(/[^"]*)"', article):
        assert client.get(address).status_code == 200, address


def test_results_are_shown_with_their_reports_and_figures(bob: User) -> None:
    client = as_(bob)
    assert (
        'href="/docs/results/paced/report/"' in client.get("/docs/results/README/").content.decode()
    )
    assert (
        'src="/static/docs/results/paced/contrasts.svg"'
        in client.get("/docs/results/paced/report/").content.decode()
    )


@pytest.mark.parametrize(
    "name", ["nothing", "README", "results", "results/../data", "results/paced/results"]
)
def test_an_unknown_document_is_not_found(bob: User, name: str) -> None:
    assert as_(bob).get(f"/docs/{name}/").status_code == 404
