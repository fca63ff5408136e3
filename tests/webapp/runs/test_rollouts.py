"""Reading rollouts: the index, its filters, and one rollout token by token."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.webapp.recorded import recorded
from webapp import artifacts
from webapp.runs.models import Run
from webapp.runs.tokens import STEPS, shade_of
from webapp.teams.models import Team, User


@pytest.fixture
def finished(still: Team, alice: User, tmp_path: Path) -> Run:
    return recorded(still, alice, tmp_path)


def shown(client: Client, run: Run, query: str = "") -> str:
    answer = client.get(f"/runs/{run.public_id}/rollouts/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_index_says_how_much_was_kept(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    assert "48 of 384 rollouts were kept to be read" in shown(client, finished)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 48),
        ("?verdict=wrong", 12),
        ("?verdict=unknown", 0),
        ("?truncated=1", 6),
        ("?step=30", 8),
        ("?problem=p02", 12),
        ("?source=teacher&step=30", 4),
    ],
)
def test_filters_leave_what_fits(client: Client, finished: Run, bob: User, query: str, count: int) -> None:
    client.force_login(bob)
    page = client.get(f"/runs/{finished.public_id}/rollouts/{query}").context["page"]
    assert page.paginator.count == count


@pytest.mark.parametrize("query", ["?step=soon", "?step=99999999999999999999", "?page=x", "?verdict=maybe", "?problem=%00", "?order=-step"])
def test_a_filter_that_makes_no_sense_is_no_error(client: Client, finished: Run, bob: User, query: str) -> None:
    client.force_login(bob)
    shown(client, finished, query)


def test_a_rollout_shows_both_models_token_by_token(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    row = finished.rollouts.filter(problem="p01", source="student", step=60).get()
    page = client.get(f"/runs/{finished.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    tokens = page.context["rollout"].tokens
    assert [token.text for token in tokens] == ["The", " sum", " 3", "\n"]
    assert [token.shade for token in tokens] == [0, 2, 6, 1]
    assert [token.agrees for token in tokens] == [True, True, False, True]
    assert page.context["teacher"].text == "The sum 2\n"
    assert page.context["before"].step == 50
    assert page.context["after"] is None


def test_text_of_a_rollout_is_shown_and_never_obeyed(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    finished.rollouts.update(excerpt="<script>alert(1)</script>")
    assert "<script>alert" not in shown(client, finished)
    assert "&lt;script&gt;alert(1)" in shown(client, finished)


def test_a_rollout_whose_block_is_gone_still_has_its_page(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    row = finished.rollouts.first()
    assert row is not None
    artifacts.path(finished.team, row.artifact).unlink()
    page = client.get(f"/runs/{finished.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    assert "The tokens of this rollout are not in the store" in page.content.decode()


def test_a_rollout_of_another_run_is_not_found(client: Client, finished: Run, run: Run, bob: User) -> None:
    client.force_login(bob)
    row = finished.rollouts.first()
    assert row is not None
    assert client.get(f"/runs/{run.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/").status_code == 404


@given(st.floats(min_value=0, max_value=100), st.floats(min_value=0, max_value=100))
def test_a_larger_divergence_never_gets_a_paler_shade(one: float, other: float) -> None:
    low, high = sorted((shade_of(one), shade_of(other)), key=lambda shade: -1 if shade is None else shade)
    assert low == shade_of(min(one, other))
    assert high == shade_of(max(one, other))
    assert 0 <= (low or 0) <= (high or 0) <= len(STEPS)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_was_not_measured_has_no_shade(value: float | None) -> None:
    assert shade_of(value) is None


def test_the_largest_divergence_comes_first_and_what_has_none_last(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    page = client.get(f"/runs/{finished.public_id}/rollouts/?order=divergence&page=2").context["page"]
    assert [row.divergence for row in page.object_list][-1] is None
    assert client.get(f"/runs/{finished.public_id}/rollouts/?order=divergence").context["page"].object_list[0].divergence is not None
