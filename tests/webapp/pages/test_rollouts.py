"""Reading rollouts: the index, its filters, and one rollout token by token."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.webapp.recorded import SPEC, Recorder, answer, recorded
from trainer.text.recording import side_files
from webapp.access.models import Team, User
from webapp.library import artifacts
from webapp.runs import lifecycle
from webapp.runs.models import Run
from webapp.runs.rollout_tokens import STEPS, shade_of


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
def test_filters_leave_what_fits(
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
def test_a_filter_that_makes_no_sense_is_no_error(
    client: Client, finished: Run, bob: User, query: str
) -> None:
    client.force_login(bob)
    shown(client, finished, query)


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


def test_the_index_says_what_was_asked_and_the_reference(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    page = shown(client, finished, "?problem=p03")
    assert "What is 3 + 3?" in page
    assert '= <span class="mono">6</span>' in page


@pytest.fixture
def edited(still: Team, alice: User, tmp_path: Path) -> Run:
    """A run with one kept rollout whose confidence was replaced, and of which two tokens of four
    were trained on.
    """
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


def test_what_was_not_trained_on_is_faded(client: Client, edited: Run, bob: User) -> None:
    client.force_login(bob)
    row = edited.rollouts.get()
    page = client.get(f"/runs/{edited.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    text = page.content.decode()
    assert [token.trained for token in page.context["rollout"].tokens] == [False, True, True, False]
    assert "2 of 4 tokens trained on" in text
    assert 'data-trained="2.00"' in text and 'data-advantage="0.500"' in text


def test_a_replaced_confidence_and_what_the_teacher_read_are_told(
    client: Client, edited: Run, bob: User
) -> None:
    client.force_login(bob)
    row = edited.rollouts.get()
    page = client.get(f"/runs/{edited.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    text = page.content.decode()
    assert "stated 0.900 · measured, and learnt, 0.375" in text
    assert "What the teacher read before this answer" in text
    assert page.context["teacher_prompt"]


def test_the_index_marks_edited_answers(
    client: Client, edited: Run, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    page = shown(client, edited)
    assert ">edited</span>" in page and "0.900 → 0.375" in page
    assert ">edited</span>" not in shown(client, finished)


def test_the_index_needs_no_block(client: Client, edited: Run, bob: User) -> None:
    client.force_login(bob)
    artifacts.path(edited.team, edited.rollouts.get().artifact).unlink()
    assert ">edited</span>" not in shown(client, edited)


def test_text_of_a_rollout_is_shown_and_never_obeyed(
    client: Client, finished: Run, bob: User
) -> None:
    client.force_login(bob)
    finished.rollouts.update(excerpt="<script>alert(1)</script>")
    assert "<script>alert" not in shown(client, finished)
    assert "&lt;script&gt;alert(1)" in shown(client, finished)


def test_a_rollout_whose_block_is_gone_still_has_its_page(
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
def test_a_rollout_whose_block_is_damaged_still_has_its_page(
    client: Client, edited: Run, bob: User, table: pa.Table | None
) -> None:
    client.force_login(bob)
    row = edited.rollouts.get()
    block = artifacts.path(edited.team, row.artifact)
    content = block.read_bytes()
    block.unlink()
    if table is None:
        block.write_bytes(content[: len(content) // 2])
    else:
        parquet.write_table(table, block)
    page = client.get(f"/runs/{edited.public_id}/rollouts/{row.attempt}/{row.seq}/{row.offset}/")
    assert page.status_code == 200
    assert "The file of this rollout is damaged" in page.content.decode()


@pytest.mark.parametrize("page", ["rollouts/", "frontier/"])
def test_a_damaged_table_of_problems_leaves_pages_without_their_text(
    client: Client, finished: Run, bob: User, page: str
) -> None:
    client.force_login(bob)
    table = artifacts.path(
        finished.team, finished.events.get(type="problem_set").payload["file"]["sha256"]
    )
    table.unlink()
    table.write_bytes(b"no Parquet")
    answer = client.get(f"/runs/{finished.public_id}/{page}")
    assert answer.status_code == 200
    assert "What is 3 + 3?" not in answer.content.decode()


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
def test_a_larger_divergence_never_gets_a_paler_shade(one: float, other: float) -> None:
    low, high = sorted(
        (shade_of(one), shade_of(other)), key=lambda shade: -1 if shade is None else shade
    )
    assert low == shade_of(min(one, other))
    assert high == shade_of(max(one, other))
    assert 0 <= (low or 0) <= (high or 0) <= len(STEPS)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_was_not_measured_has_no_shade(value: float | None) -> None:
    assert shade_of(value) is None


def test_the_largest_divergence_comes_first_and_what_has_none_last(
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
