"""Saved comparisons: the δ that they keep, changes of them, and sharing what is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.compared import compared, definition, solved
from tests.webapp.comparisons.test_compare_page import address_of, signed_in, text_of
from webapp.access import members
from webapp.access.models import Team, User
from webapp.comparisons import saving
from webapp.comparisons.choices import Choices
from webapp.comparisons.models import SavedComparison
from webapp.runs.models import Run
from webapp.sharing.models import ShareLink

pytestmark = pytest.mark.django_db


@pytest.fixture
def pair(still: Team, alice: User, tmp_path: Path) -> tuple[Run, Run]:
    return (
        compared(still, alice, tmp_path / "a", solved(0.3), definition(0), "plain"),
        compared(still, alice, tmp_path / "b", solved(0.8, seed=1), definition(0, 2.0), "sharp"),
    )


@pytest.fixture
def saved(still: Team, alice: User, pair: tuple[Run, Run]) -> SavedComparison:
    return saving.save(still, alice, "both", pair, Choices())


def ids_of(runs: tuple[Run, ...]) -> str:
    return ",".join(run.public_id for run in runs)


def before_in(client: Client, address: str) -> str:
    """The digest of the choices that the form of changes has on a page."""
    match = re.search(r'name="before" value="(\w+)"', client.get(address).content.decode())
    assert match is not None
    return match[1]


def test_delta_is_that_of_the_team_until_another_is_chosen(
    still: Team, alice: User, pair: tuple[Run, Run]
) -> None:
    client = signed_in(alice)
    assert "δ = 0.02 (the usual one)" in text_of(client, address_of(*pair))
    client.post("/team/interest/", {"interest": "0.05"})
    assert "δ = 0.05 (that of Still)" in text_of(client, address_of(*pair))
    text = text_of(client, address_of(*pair, delta="0.1"))
    assert "δ = 0.1 (chosen here; that of Still is 0.05)" in text
    text = text_of(client, address_of(*pair, delta="much"))
    assert "δ = 0.05 (that of Still)" in text and "“much” is no number above 0" in text


@pytest.mark.parametrize("typed", ["0", "-1", "nan", "inf", "1e9", "a point", "\0"])
def test_a_delta_that_is_none_is_refused_in_a_sentence(
    still: Team, alice: User, typed: str
) -> None:
    page = signed_in(alice).post("/team/interest/", {"interest": typed}, follow=True)
    assert "such as 0.02 for 2 points of a pass rate" in page.content.decode()
    still.refresh_from_db()
    assert still.interest is None


def test_a_team_goes_back_to_the_usual_delta(still: Team, alice: User, bob: User) -> None:
    members.set_interest(still, 0.1)
    assert "0.1, in units of the metric" in text_of(signed_in(bob), "/team/")
    signed_in(alice).post("/team/interest/", {"interest": ""})
    still.refresh_from_db()
    assert still.interest is None


def test_a_saved_comparison_keeps_its_delta_and_says_that_the_teams_has_changed(
    still: Team, alice: User, saved: SavedComparison
) -> None:
    client, address = signed_in(alice), f"/compare/{saved.public_id}/"
    assert "δ = 0.02 (as saved)" in text_of(client, address)
    members.set_interest(still, 0.3)
    assert "δ = 0.02 (as saved; that of Still is 0.3 now)" in text_of(client, address)
    # One of an earlier version, which did not write it down.
    SavedComparison.objects.update(choices={})
    assert "δ = 0.02 (as saved; that of Still is 0.3 now)" in text_of(client, address)


def test_changes_are_marked_and_saved_over_the_comparison(
    alice: User, saved: SavedComparison, pair: tuple[Run, Run]
) -> None:
    client, address = signed_in(alice), f"/compare/{saved.public_id}/"
    is_marked = '<span class="badge accent" data-when-changed>'
    assert is_marked not in client.get(address).content.decode()
    # The form sends what is shown: that alone is no change.
    same = f"?chosen=1&metric=eval/pass_rate&delta=0.020&by=groups&baseline={pair[0].public_id}"
    assert is_marked not in client.get(f"{address}{same}").content.decode()
    other = f"?chosen=1&baseline={pair[1].public_id}"
    assert is_marked in client.get(f"{address}{other}").content.decode()
    form = {"baseline": pair[1].public_id, "before": before_in(client, address)}
    client.post(f"{address}save/", form)
    text = text_of(client, address)
    assert "plain against sharp: Lower" in text and "δ = 0.02 (as saved)" in text
    assert is_marked not in client.get(address).content.decode()
    assert SavedComparison.objects.count() == 1


def test_changes_of_somebody_else_are_not_overwritten_unseen(
    alice: User, saved: SavedComparison, pair: tuple[Run, Run]
) -> None:
    client, address = signed_in(alice), f"/compare/{saved.public_id}/"
    before = before_in(client, address)
    client.post(f"{address}save/", {"delta": "0.1", "before": before})
    mine = {"baseline": pair[1].public_id, "before": before}
    page = client.post(f"{address}save/", mine, follow=True)
    text = page.content.decode()
    assert "Somebody else changed this comparison meanwhile." in text
    assert "Lower by" in text  # what was chosen is still shown
    saved.refresh_from_db()
    assert saved.choices == {"delta": "0.1"}
    # Saved again from the page that said so, it replaces them.
    match = re.search(r'name="before" value="(\w+)"', text)
    assert match is not None
    client.post(f"{address}save/", {**mine, "before": match[1]})
    saved.refresh_from_db()
    assert saved.choices["baseline"] == pair[1].public_id


def test_the_first_run_of_the_address_stays_the_baseline(
    alice: User, pair: tuple[Run, Run]
) -> None:
    form = {"runs": ids_of(pair[::-1]), "name": "turned"}
    page = signed_in(alice).post("/compare/save/", form, follow=True)
    assert "plain</b> against sharp: Lower" in page.content.decode()


def test_what_is_shown_is_saved_and_shared_in_one_step_and_revoked(
    alice: User, pair: tuple[Run, Run]
) -> None:
    editor, guest = signed_in(alice), Client()
    form = {"runs": ids_of(pair), "delta": "0.1", "days": "7"}
    page = editor.post("/compare/share/", form, follow=True).content.decode()
    assert "Saved as “plain, sharp”, which the link shows." in page
    match = re.search(r"http://testserver(/s/[^/]+/)", page)
    assert match is not None
    shown = guest.get(match[1], follow=True).content.decode()
    # A guest is told nothing of the team.
    assert "δ = 0.1 (as saved)" in shown and "Save changes" not in shown
    saved, link = SavedComparison.objects.get(), ShareLink.objects.get()
    editor.post(f"/compare/{saved.public_id}/share/{link.pk}/revoke/")
    assert guest.get(f"/compare/{saved.public_id}/").status_code == 302


@pytest.mark.parametrize(
    ("fields", "sentence"), [({"days": "9"}, "Choose an expiry."), ({"name": "x" * 121}, "longer")]
)
def test_what_cannot_be_shared_is_neither_saved_nor_shared(
    alice: User, pair: tuple[Run, Run], fields: dict[str, str], sentence: str
) -> None:
    form = {"runs": ids_of(pair), "days": "7", **fields}
    page = signed_in(alice).post("/compare/share/", form, follow=True)
    assert sentence in page.content.decode()
    assert not SavedComparison.objects.exists() and not ShareLink.objects.exists()
