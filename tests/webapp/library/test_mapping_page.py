"""The mapping of published formats: recognised, changed by hand, saved, and used by a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.webapp.library import saving
from tests.webapp.pages.test_new_run import as_
from trainer.spec import Data, FileProblems
from trainer.text.problems import load
from webapp.access.models import User
from webapp.definition.location_choices import mapping_of
from webapp.library import artifacts
from webapp.library.models import DataSet

pytestmark = pytest.mark.django_db

USER = {"role": "user", "content": "2+3?"}
REPLY = {"role": "assistant", "content": "5"}
SYSTEM = {"role": "system", "content": "Be brief."}
VERL = {
    "data_source": "openai/gsm8k",
    "prompt": [SYSTEM, USER],
    "reward_model": {"style": "rule", "ground_truth": "5"},
}
ALPACA = {"instruction": "Add the numbers.", "input": "2 and 3", "output": "5"}


def lines(*rows: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def mapping_page(client: Client, content: bytes, name: str) -> Any:
    answer = client.post("/data/new/", {"file": SimpleUploadedFile(name, content)})
    assert answer.status_code == 302, answer.content.decode()
    return client.get(str(answer["Location"]))


def fields_of(page: Any) -> dict[str, str]:
    """The fields that a browser sends from a mapping page as it is."""
    fields = {column.field.name: column.field.value for column in page.context["columns"]}
    fields |= {field.name: field.value for field in page.context["verifier"] if field.applies}
    return {
        **fields,
        "file": page.context["artifact"].sha256,
        "filename": page.context["filename"],
        "name": "set",
    }


def save(client: Client, page: Any, **changes: str) -> Any:
    columns = {f"data.train.columns.{name}": value for name, value in changes.items()}
    return saving.save(client, fields_of(page) | columns)


def saved(client: Client, page: Any, **changes: str) -> DataSet:
    answer = save(client, page, **changes)
    assert answer.status_code == 302, answer.context["problem"]
    return DataSet.objects.latest("created_at")


@pytest.mark.parametrize(
    ("content", "name", "shape", "question"),
    [
        (lines(VERL), "verl.jsonl", "verl", "2+3?"),
        (lines({"messages": [USER, REPLY]}), "chat.jsonl", "messages", "2+3?"),
        (
            json.dumps([ALPACA], indent=1).encode(),
            "alpaca.json",
            "Alpaca",
            "Add the numbers.\n\n2 and 3",
        ),
    ],
)
def test_a_recognised_file_is_saved_as_it_is_proposed(
    alice: User, content: bytes, name: str, shape: str, question: str
) -> None:
    client = as_(alice)
    page = mapping_page(client, content, name)
    assert f"Recognised as <strong>{shape}</strong>" in page.content.decode()
    preview = client.get("/data/new/preview/", fields_of(page)).context["readings"]
    assert [(reading.question, reading.reference) for reading in preview] == [(question, "5")]
    data = saved(client, page)
    path = artifacts.path(data.team, data.artifact.sha256)
    source = FileProblems.model_validate({"path": f"file:{path}", "columns": data.columns})
    problems = load(source, Data())
    assert problems.fingerprint == data.fingerprint
    assert problems.items[0].question == question


def test_values_inside_columns_are_offered_and_a_template_can_be_written(alice: User) -> None:
    client = as_(alice)
    page = mapping_page(client, lines({"q": {"text": "2+3"}, "unit": "kg", "a": 5}), "x.jsonl")
    question = page.context["columns"][0]
    assert {"q.text", "unit", "a"} <= set(question.options)
    data = saved(client, page, question="{q.text}\n\nIn {unit}?", answer="a")
    assert data.columns["question"] == "{q.text}\n\nIn {unit}?"
    page = client.get(f"/data/{data.pk}/")
    preview = client.get("/data/new/preview/?" + page.context["preview_query"])
    assert preview.context["readings"][0].question == "2+3\n\nIn kg?"
    # The mapping is kept when it is changed, and the template is shown for writing.
    again = client.get("/data/new/?" + page.context["preview_query"]).context["columns"][0]
    assert (again.is_open, again.text) == (True, "{q.text}\n\nIn {unit}?")


def test_a_column_that_no_row_has_is_named_in_the_preview_and_when_saving(alice: User) -> None:
    client = as_(alice)
    page = mapping_page(client, lines({"q": "1?", "a": "1"}), "x.jsonl")
    changes = {
        "data.train.columns.question": "{q} {contxt}",
        "data.train.columns.answer": "a",
    }
    preview = client.get("/data/new/preview/", fields_of(page) | changes)
    sentence = "No row of x.jsonl has a column “contxt”; choose another or none."
    assert preview.context["issues"] == [sentence]
    answer = save(client, page, question="{q} {contxt}", answer="a")
    assert (answer.status_code, answer.context["problem"]) == (422, sentence)


def test_rows_that_were_left_out_are_counted_and_named_on_the_page(alice: User) -> None:
    client = as_(alice)
    rows = [{"question": f"{n}+1?", "answer": str(n + 1)} for n in range(294)]
    empty = [{"question": "why?", "answer": ""}] * 3
    content = lines(
        *rows[:10], *empty, *rows[10:], {"question": "x" * 200, "answer": "1"}, *rows[:2]
    )
    page = mapping_page(client, content, "sums.jsonl")
    refused = save(client, page)
    assert refused.status_code == 422
    assert "Rows 11, 12, 13 of sums.jsonl have no answer" in refused.context["problem"]
    assert "set unusable rows to leave out" in refused.context["problem"]
    data = saved(client, page, unusable_rows="leave_out", longest="100")
    assert (data.problem_count, data.survey["rows"]) == (294, 300)
    text = " ".join(client.get(f"/data/{data.pk}/").content.decode().split())
    assert "294 of 300 rows" in text
    assert "3: no answer (rows 11, 12, 13)" in text
    assert "1: too long (row 298)" in text
    assert "2: repeats an earlier row (rows 299, 300)" in text


def test_many_rows_are_named_by_the_first_ones(alice: User) -> None:
    client = as_(alice)
    rows = [{"question": "1?", "answer": "1"}] + [{"question": "", "answer": "1"}] * 9
    data = saved(client, mapping_page(client, lines(*rows), "x.jsonl"), unusable_rows="leave_out")
    text = " ".join(client.get(f"/data/{data.pk}/").content.decode().split())
    assert "9: no question (rows 2, 3, 4, 5, 6, …)" in text


def test_long_and_many_group_names_do_not_refuse_a_file(alice: User) -> None:
    client = as_(alice)
    rows = [
        {"question": f"{n}?", "answer": "1", "topic": "Mathematics -> " * 9, "level": str(n)}
        for n in range(101)
    ]
    data = saved(client, mapping_page(client, lines(*rows), "topics.jsonl"))
    assert (data.columns["domain"], data.columns["difficulty"]) == ("topic", None)
    text = client.get(f"/data/{data.pk}/").content.decode()
    assert "1 domain name of topics.jsonl with more than 64 characters is shortened" in text
    assert "difficulty column “level” of topics.jsonl has more than 100 different" in text


def test_system_prompt_and_history_are_shown_before_the_question(alice: User) -> None:
    client = as_(alice)
    earlier = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    page = mapping_page(client, lines({"messages": [SYSTEM, *earlier, USER, REPLY]}), "x.jsonl")
    preview = client.get("/data/new/preview/", fields_of(page)).content.decode()
    positions = [preview.index(text) for text in ("Be brief.", "1+1?", "assistant: 2", "2+3?")]
    assert positions == sorted(positions)


def test_choosing_another_data_set_resets_every_field_of_the_mapping(alice: User) -> None:
    client = as_(alice)
    data = saved(client, mapping_page(client, lines(VERL), "verl.jsonl"))
    # A data set of an earlier version lacks the newer fields.
    data.columns = {"question": "q", "answer": "a"}
    values = mapping_of(data)
    assert values["{role}.columns.system"] == values["{role}.columns.history"] == ""
    assert values["{role}.columns.answer_from"] == "text"
    assert values["{role}.columns.longest"] == "100000"
