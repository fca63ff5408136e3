"""The pages of rollouts: the list, its filters, and one rollout token by token."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.webapp.recorded import SPEC, Recorder, answer, recorded
from trainer.text.problems import Message, Problem, problem_set
from trainer.text.recording import side_files
from webapp.access.models import Team, User
from webapp.library import artifacts
from webapp.runs import lifecycle
from webapp.runs.models import Attempt, RolloutRow, Run
from webapp.runs.rollout_tokens import SHADE_EDGES, shade_of
from webapp.sharing import links


@pytest.fixture
def finished(still: Team, alice: User, tmp_path: Path) -> Run:
    return recorded(still, alice, tmp_path)


def list_text(client: Client, run: Run, query: str = "") -> str:
    response = client.get(f"/runs/{run.public_id}/rollouts/{query}")
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_says_how_many_rollouts_are_stored(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    assert "48 of 384 rollouts are stored" in list_text(client, finished)


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
def test_filters_keep_matching_rollouts(
    client: Client, finished: Run, bob: User, query: str, count: int
) -> None:
    client.force_login(bob)
    page = client.get(f"/runs/{finished.public_id}/rollouts/{query}").context["page"]
    assert page.paginator.count == count


@pytest.mark.parametrize(
    "query",
    [
        "?step=soon",
        "?step=99999999999999999999",
        "?page=x",
        "?verdict=maybe",
        "?problem=%00",
        "?order=-step",
    ],
)
def test_an_unknown_filter_value_is_ignored(
    client: Client, finished: Run, bob: User, query: str
) -> None:
    client.force_login(bob)
    list_text(client, finished, query)


def test_a_rollout_shows_both_models_token_by_token(
    client: Client, finished: Run, bob: User
) -> None:
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


def test_the_list_shows_question_and_reference(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    page = list_text(client, finished, "?problem=p03")
    assert "What is 3 + 3?" in page
    assert '= <span class="mono">6</span>' in page


@pytest.fixture
def edited(still: Team, alice: User, tmp_path: Path) -> Run:
    """A run with one stored rollout: its confidence was replaced, 2 of its 4 tokens trained on."""
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    more = {
        "coefficient": [0.0, 1.0, 2.0, 0.0],
        "advantage": [0.5] * 4,
        "confidence": 0.9,
        "target_confidence": 0.375,
        "edited": True,
        "teacher_prompt_ids": [3, 4, 5],
    }
    row = {**answer(1, 5, "student"), **more}
    file = side_files.write(recorder.folder / "side", pa.Table.from_pylist([row]))
    index = [{"problem": "p01", "source": "student", "length": 4, "excerpt": row["text"]}]
    recorder.send(
        [
            {
                "type": "rollouts",
                "step": 5,
                "role": "train",
                "file": file,
                "kept": 1,
                "of": 1,
                "index": index,
            }
        ]
    )
    return recorder.run


HISTORY = (
    Message("system", "Be <b>brief</b>."),
    Message("user", "What is 5 + 5?"),
    Message("assistant", "It is 10."),
)


@pytest.fixture
def asked_later(still: Team, alice: User, tmp_path: Path) -> Run:
    """A run with one rollout, of a problem with a system prompt and two turns before it."""
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    problems = problem_set([Problem("p01", "And doubled?", "20", history=HISTORY)])
    row = answer(1, 5, "student")
    tables = [side_files.problem_table(problems), pa.Table.from_pylist([row])]
    files = [side_files.write(recorder.folder / "side", table) for table in tables]
    index = [{"problem": "p01", "source": "student", "length": 4, "excerpt": row["text"]}]
    sets = {"fingerprint": problems.fingerprint, "count": 1, "set_aside": 0, "file": files[0]}
    kept = {"step": 5, "file": files[1], "kept": 1, "of": 1, "index": index}
    recorder.send(
        [
            {"type": "problem_set", "role": "train", **sets},
            {"type": "rollouts", "role": "train", **kept},
        ]
    )
    return recorder.run


def test_a_question_is_shown_with_its_conversation(
    client: Client, asked_later: Run, bob: User
) -> None:
    client.force_login(bob)
    assert "after 3 messages" in list_text(client, asked_later)
    row = asked_later.rollouts.get()
    address = f"rollouts/{row.attempt}/{row.seq}/{row.offset}/"
    text = client.get(f"/runs/{asked_later.public_id}/{address}").content.decode()
    shown = ["Be &lt;b&gt;brief&lt;/b&gt;.", "What is 5 + 5?", "It is 10.", "<dt>Problem</dt>"]
    positions = [text.index(part) for part in shown]
    assert positions == sorted(positions)
    assert "<dt>System</dt>" in text
    assert "<dt>Assistant</dt>" in text


def test_a_guest_sees_the_conversation_too(client: Client, asked_later: Run, alice: User) -> None:
    guest = Client()
    guest.get(f"/s/{links.share(asked_later, alice, timedelta(days=1))}/")
    row = asked_later.rollouts.get()
    address = f"/runs/{asked_later.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/"
    assert "What is 5 + 5?" in guest.get(address).content.decode()


def test_tokens_not_trained_on_are_marked(client: Client, edited: Run, bob: User) -> None:
    client.force_login(bob)
    row = edited.rollouts.get()
    page = client.get(f"/runs/{edited.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    text = page.content.decode()
    assert [token.trained for token in page.context["rollout"].tokens] == [False, True, True, False]
    assert "2 of 4 tokens trained on" in text
    assert 'data-trained="2.00"' in text and 'data-advantage="0.500"' in text


def test_a_replaced_confidence_and_the_teacher_prompt_are_shown(
    client: Client, edited: Run, bob: User
) -> None:
    client.force_login(bob)
    row = edited.rollouts.get()
    page = client.get(f"/runs/{edited.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    text = page.content.decode()
    assert "stated 0.900 · measured and trained on 0.375" in text
    assert "Show the teacher's prompt" in text
    assert page.context["teacher_prompt"]


def test_the_list_marks_edited_answers(
    client: Client, edited: Run, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    page = list_text(client, edited)
    assert ">edited</span>" in page and "0.900 → 0.375" in page
    assert ">edited</span>" not in list_text(client, finished)


def test_the_list_works_without_the_token_file(client: Client, edited: Run, bob: User) -> None:
    client.force_login(bob)
    artifacts.path(edited.team, edited.rollouts.get().artifact).unlink()
    assert ">edited</span>" not in list_text(client, edited)


def test_html_in_a_rollout_is_escaped(client: Client, finished: Run, bob: User) -> None:
    client.force_login(bob)
    finished.rollouts.update(excerpt="<script>alert(1)</script>")
    assert "<script>alert" not in list_text(client, finished)
    assert "&lt;script&gt;alert(1)" in list_text(client, finished)


def test_a_rollout_without_its_token_file_has_a_page(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    row = finished.rollouts.first()
    assert row is not None
    artifacts.path(finished.team, row.artifact).unlink()
    page = client.get(f"/runs/{finished.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    assert "The tokens of this rollout are not in the store" in page.content.decode()


@pytest.mark.parametrize(
    "table",
    [
        None,
        pa.table({"tokens": [1], "text": ["x"]}),
        pa.table({"tokens": [["x"]], "divergence": [["far"]]}),
        pa.table({"tokens": [["x"]], "student_logprob": [[[1.0]]]}),
        pa.table({"tokens": [["x"]], "teacher_prompt_ids": [["a"]]}),
        pa.table({"tokens": [["x"]], "confidence": [[0.5]]}),
    ],
    ids=["cut", "tokens", "divergence", "logprob", "prompt", "confidence"],
)
def test_a_rollout_with_a_damaged_token_file_has_a_page(
    client: Client, edited: Run, bob: User, table: pa.Table | None
) -> None:
    client.force_login(bob)
    row = edited.rollouts.get()
    token_file = artifacts.path(edited.team, row.artifact)
    content = token_file.read_bytes()
    token_file.unlink()
    if table is None:
        token_file.write_bytes(content[: len(content) // 2])
    else:
        parquet.write_table(table, token_file)
    page = client.get(f"/runs/{edited.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    assert page.status_code == 200
    assert "The file of this rollout is damaged" in page.content.decode()


@pytest.mark.parametrize("page", ["rollouts/", "frontier/"])
def test_pages_work_without_problem_texts_if_their_file_is_damaged(
    client: Client, finished: Run, bob: User, page: str
) -> None:
    client.force_login(bob)
    table = artifacts.path(
        finished.team, finished.events.get(type="problem_set").payload["file"]["sha256"]
    )
    table.unlink()
    table.write_bytes(b"no Parquet")
    response = client.get(f"/runs/{finished.public_id}/{page}")
    assert response.status_code == 200
    assert "What is 3 + 3?" not in response.content.decode()


def test_a_rollout_of_another_run_is_not_found(
    client: Client, finished: Run, run: Run, bob: User
) -> None:
    client.force_login(bob)
    row = finished.rollouts.first()
    assert row is not None
    assert (
        client.get(
            f"/runs/{run.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/"
        ).status_code
        == 404
    )


@given(st.floats(min_value=0, max_value=100), st.floats(min_value=0, max_value=100))
def test_a_larger_divergence_never_gets_a_paler_shade(a: float, b: float) -> None:
    low, high = sorted((shade_of(a), shade_of(b)), key=lambda shade: -1 if shade is None else shade)
    assert low == shade_of(min(a, b))
    assert high == shade_of(max(a, b))
    assert 0 <= (low or 0) <= (high or 0) <= len(SHADE_EDGES)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_an_unmeasured_divergence_has_no_shade(value: float | None) -> None:
    assert shade_of(value) is None


def test_order_by_divergence_puts_unmeasured_rollouts_last(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    page = client.get(f"/runs/{finished.public_id}/rollouts/?order=divergence&page=2").context[
        "page"
    ]
    assert [row.divergence for row in page.object_list][-1] is None
    assert (
        client.get(f"/runs/{finished.public_id}/rollouts/?order=divergence")
        .context["page"]
        .object_list[0]
        .divergence
        is not None
    )


@pytest.mark.parametrize("order", ["newest", "divergence", "longest"])
def test_every_rollout_is_on_one_page_whatever_their_equal_values(
    client: Client, run: Run, bob: User, order: str
) -> None:
    """Rows of many events that differ in nothing that is shown."""
    client.force_login(bob)
    Attempt.objects.create(run=run, number=1, last_seq=200)
    rows = [
        RolloutRow(
            run=run,
            attempt=1,
            seq=seq,
            offset=0,
            step=1,
            problem="p",
            source="student",
            length=3,
            divergence=0.5,
            excerpt="",
            artifact="a" * 64,
        )
        for seq in range(200)
    ]
    random.Random(0).shuffle(rows)
    RolloutRow.objects.bulk_create(rows)
    shown = [
        row.pk
        for number in range(1, 6)
        for row in client.get(f"/runs/{run.public_id}/rollouts/?order={order}&page={number}")
        .context["page"]
        .object_list
    ]
    assert sorted(shown) == sorted(row.pk for row in rows)
