"""Data sets: upload, mapping, preview as the verifier reads, and files that cannot be used, each
answered in a sentence.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from tests.webapp.conftest import SPEC
from tests.webapp.library.saving import save
from tests.webapp.pages.test_new_run import as_
from trainer.spec import NumericVerifier
from webapp.access.models import Team, User
from webapp.library import artifacts, locations
from webapp.library.models import Artifact, DataSet
from webapp.runs import lifecycle
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db

GSM8K = Path(__file__).resolve().parents[2] / "gsm8k" / "train.jsonl"  # its first rows as published

JSONL = b'{"q": "1+1?", "a": "2", "note": "x"}\n{"q": "2+2?", "a": "#### 4"}\n'
COLUMNS = {
    "data.train.columns.question": "q",
    "data.train.columns.answer": "a",
    "data.verifier.kind": "numeric",
}


def upload(client: Client, content: bytes, name: str = "sums.jsonl") -> str:
    """Upload a file and return the address of its mapping page."""
    answer = client.post("/data/new/", {"file": SimpleUploadedFile(name, content)})
    assert answer.status_code == 302, answer.content.decode()
    return str(answer["Location"])


def refusal(client: Client, content: bytes, name: str = "sums.jsonl") -> str:
    """Why an upload is refused."""
    answer = client.post("/data/new/", {"file": SimpleUploadedFile(name, content)})
    assert answer.status_code == 422
    return str(answer.context["problem"])


def keep(client: Client, content: bytes, name: str = "sums", **changes: str) -> DataSet:
    upload(client, content)
    sha256 = Artifact.objects.latest("stored_at").sha256
    form = {
        "file": sha256,
        "filename": "sums.jsonl",
        "name": name,
        **COLUMNS,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    answer = save(client, form)
    assert answer.status_code == 302, answer.context["problem"]
    return DataSet.objects.latest("created_at")


def test_a_file_becomes_a_data_set_with_its_mapping(erin: User, still: Team) -> None:
    data = keep(as_(erin), JSONL)
    assert (data.team, data.name, data.problem_count, data.format, data.filename) == (
        still,
        "sums",
        2,
        "jsonl",
        "sums.jsonl",
    )
    assert data.columns == {
        "question": "q",
        "answer": "a",
        "choices": None,
        "choice_answers": "auto",
        "solution": None,
        "id": None,
        "domain": None,
        "difficulty": None,
        "answer_from": "text",
        "system": None,
        "history": None,
        "unusable_rows": "refuse",
        "longest": 100_000,
    }
    assert data.verifier == NumericVerifier().model_dump()
    assert data.references == {"read": 2, "unreadable": 0, "examples": [], "is_complete": True}
    with artifacts.open(still, data.artifact.sha256) as file:
        assert file.read() == JSONL


def test_the_columns_are_guessed_from_their_names(alice: User) -> None:
    client = as_(alice)
    page = client.get(upload(client, b"problem,final_answer,subject\n1+1?,2,sums\n", "x.csv"))
    columns = {
        column.field.name.rpartition(".")[2]: column.field.value
        for column in page.context["columns"]
    }
    assert (columns["question"], columns["answer"], columns["domain"], columns["solution"]) == (
        "problem",
        "final_answer",
        "subject",
        "",
    )


def test_the_preview_shows_answers_as_the_verifier_reads_them(alice: User) -> None:
    client = as_(alice)
    address = upload(
        client,
        b'{"q": "1+1?", "a": "so\\n#### 1,234"}\n'
        b'{"q": "2?", "a": "none here"}\n'
        b'{"q": "3?", "a": ""}\n',
    )
    page = client.get(
        address.replace("/data/new/", "/data/new/preview/"),
        COLUMNS | {"file": Artifact.objects.get().sha256},
    )
    readings = page.context["readings"]
    assert [(reading.answer, reading.reference) for reading in readings] == [
        ("1234", "1234"),
        ("none here", ""),
        ("", ""),
    ]
    assert "not readable" in page.content.decode() and "no answer" in page.content.decode()


def test_the_preview_explains_a_wrong_mapping(alice: User) -> None:
    client = as_(alice)
    upload(client, JSONL)
    query = {
        "file": Artifact.objects.get().sha256,
        "filename": "sums.jsonl",
        **COLUMNS,
        "data.train.columns.answer": "missing",
    }
    assert "has no column “missing”" in client.get("/data/new/preview/", query).content.decode()
    query["data.verifier.kind"], query["data.verifier.tolerance"] = "numeric", "-1"
    assert "must not be negative" in client.get("/data/new/preview/", query).content.decode()


def test_saving_reads_every_reference_and_names_those_that_cannot_be_read(alice: User) -> None:
    client = as_(alice)
    rows = [f'{{"q": "{n}?", "a": "{"x^2" if n in (20, 30) else n}"}}\n' for n in range(50)]
    upload(client, "".join(rows).encode())
    form = {"file": Artifact.objects.get().sha256, "filename": "sums.jsonl", "name": "sums"}
    page = client.get(str(save(client, form | COLUMNS)["Location"])).content.decode()
    sentence = "The verifier numeric cannot read 2 of 50 reference answers, such as “x^2”."
    # Once as a message, once on the data set's page for good.
    assert page.count(sentence) == 2
    assert client.get(f"/data/{DataSet.objects.get().pk}/").content.decode().count(sentence) == 1


def test_the_preview_names_the_mark_that_a_reference_is_read_after(alice: User) -> None:
    client = as_(alice)
    rows = b'{"q": "1?", "a": "so \\\\boxed{5}"}\n{"q": "2?", "a": "6"}\n'
    address = upload(client, rows)
    page = client.get(
        address.replace("/data/new/", "/data/new/preview/"),
        COLUMNS | {"file": Artifact.objects.get().sha256},
    )
    assert [reading.mark for reading in page.context["readings"]] == ["\\boxed{}", ""]
    assert "after <code>\\boxed{}</code>" in page.content.decode()


def test_the_decimal_comma_is_guessed_from_the_references(alice: User) -> None:
    client = as_(alice)
    page = client.get(upload(client, b"question;answer\n?;3,5\n!;2\n", "x.csv"))
    checked = {field.name: field.value for field in page.context["verifier"]}
    assert checked["data.verifier.decimal_comma"]
    assert not checked["data.verifier.spaced_thousands"]


def test_places_of_choices_are_decided_from_all_rows_and_can_be_changed(alice: User) -> None:
    client = as_(alice)
    rows = b"".join(
        b'{"q": "%d?", "a": %d, "c": ["w", "x", "y", "z"]}\n' % (n, n % 4 + 1) for n in range(20)
    )
    settings = {"data__train__columns__choices": "c", "data__verifier__kind": "choice"}
    data = keep(client, rows, **settings)
    assert data.columns["choice_answers"] == "from_1"
    assert data.references["unreadable"] == 0
    settings["data__train__columns__choice_answers"] = "from_0"
    upload(client, rows)
    form = {"file": data.artifact.sha256, "filename": "x.jsonl", "name": "other", **COLUMNS}
    form |= {key.replace("__", "."): value for key, value in settings.items()}
    assert "which is none of its 4 choices; give its place, from 0" in str(
        save(client, form).context["problem"]
    )


def test_the_same_content_under_the_same_name_is_one_data_set(alice: User) -> None:
    client = as_(alice)
    assert keep(client, JSONL) == keep(client, JSONL)
    assert DataSet.objects.count() == 1


def test_gsm8k_is_read_completely(alice: User) -> None:
    client = as_(alice)
    data = keep(
        client,
        GSM8K.read_bytes(),
        "gsm8k",
        **{"data__train__columns__question": "question", "data__train__columns__answer": "answer"},
    )
    assert data.problem_count == 40
    page = client.get(f"/data/{data.pk}/")
    preview = client.get("/data/new/preview/?" + page.context["preview_query"])
    assert [reading.reference for reading in preview.context["readings"]][:3] == ["72", "10", "5"]


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "a.jsonl", "is empty"),
        (b" \n\n", "a.jsonl", "is empty"),
        (b'{"q": "1+1?", "a": \n', "a.jsonl", "Line 1 of a.jsonl is not valid JSON"),
        (b'{"q": 1}\n{"q": 2', "a.jsonl", "Line 2 of a.jsonl, the last, is cut off"),
        (b'[{"q": 1}, 2]', "a.json", "Entry 2 of a.json is no JSON object"),
        (b'[{"q": 1}, {"q":', "a.json", "a.json is cut off in entry 2"),
        (
            "question,answer\ncafé,1\n".encode("latin-1"),
            "a.csv",
            "Line 2 of a.csv is not UTF-8 text",
        ),
        (b"question,answer\n1,2,3\n", "a.csv", "has 3 values, the header has 2"),
        (b"PK\x03\x04" + b"x" * 50, "a.xlsx", "a ZIP archive or an Excel workbook"),
        (b"PAR1" + b"x" * 50, "a.parquet", "cannot be read as Parquet"),
        (b"question,answer\n", "a.csv", "has no rows after its header"),
    ],
)
def test_a_file_that_is_not_data_is_refused_by_its_name(
    alice: User, content: bytes, name: str, says: str
) -> None:
    assert says in refusal(as_(alice), content, name)
    assert not Artifact.objects.exists()


def test_problems_without_an_answer_are_named_by_their_lines(alice: User) -> None:
    client = as_(alice)
    upload(
        client, b'{"q": "1?", "a": "1"}\n{"q": "2?", "a": ""}\n{"q": "3?"}\n{"q": "4?", "a": "4"}\n'
    )
    form = {"file": Artifact.objects.get().sha256, "filename": "gaps.jsonl", "name": "gaps"}
    answer = save(client, form | COLUMNS)
    assert answer.status_code == 422
    assert "of gaps.jsonl" in answer.context["problem"]
    assert not DataSet.objects.exists()


def test_a_wrong_column_is_refused_when_the_data_set_is_kept(alice: User) -> None:
    client = as_(alice)
    upload(client, JSONL)
    form = {
        "file": Artifact.objects.get().sha256,
        "filename": "sums.jsonl",
        "name": "sums",
        **COLUMNS,
        "data.train.columns.question": "no such",
    }
    page = save(client, form)
    assert page.status_code == 422
    assert escape("has no column “no such”") in page.content.decode()
    form["data.train.columns.question"] = ""
    assert "Must not be empty" in client.post("/data/new/", form).content.decode()


def test_a_name_that_is_taken_is_used_again_only_if_the_person_says_so(alice: User) -> None:
    client = as_(alice)
    upload(client, JSONL)
    form = {"file": Artifact.objects.get().sha256, "filename": "a.jsonl", "name": "sums", **COLUMNS}
    save(client, form)
    refusal = client.post("/data/new/", form | {"name": "Sums"})
    assert refusal.status_code == 422 and refusal.context["asks_for_name"]
    assert "The team already has “sums” (" in refusal.context["problem"]
    assert 'name="same_name"' in refusal.content.decode()
    assert client.post("/data/new/", form | {"same_name": "yes"}).status_code == 302


def test_a_file_above_the_servers_limit_is_refused(
    alice: User, settings: pytest.FixtureRequest
) -> None:
    settings.MAX_UPLOAD_BYTES = 10  # type: ignore[attr-defined]
    assert "this server takes at most 10 B" in refusal(as_(alice), JSONL)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.jsonl",
        "..\\..\\boot.jsonl",
        "a\nb.jsonl",
        "x" * 400 + ".jsonl",
        "<script>.jsonl",
    ],
)
def test_a_file_name_is_shown_escaped_and_without_its_path(alice: User, name: str) -> None:
    client = as_(alice)
    page = client.get(upload(client, JSONL, name)).content.decode()
    assert "<script>.jsonl" not in page
    assert "etc/passwd" not in page


def test_text_in_a_data_file_is_escaped(alice: User) -> None:
    client = as_(alice)
    upload(client, b'{"q": "<script>alert(1)</script>", "a": "<img src=x onerror=alert(1)>"}\n')
    page = client.get(
        "/data/new/preview/", {"file": Artifact.objects.get().sha256, **COLUMNS}
    ).content.decode()
    assert "<script>" not in page and "<img" not in page


def test_a_viewer_cannot_upload(bob: User) -> None:
    client = as_(bob)
    assert (
        client.post("/data/new/", {"file": SimpleUploadedFile("a.jsonl", JSONL)}).status_code == 403
    )
    assert not Artifact.objects.exists()


def test_a_stranger_sees_neither_file_nor_data_set(alice: User, charlie: User) -> None:
    data = keep(as_(alice), JSONL)
    client = as_(charlie)
    assert client.get(f"/data/{data.pk}/").status_code == 404
    assert client.get("/data/new/", {"file": data.artifact.sha256}).status_code == 404
    assert client.get("/data/new/preview/", {"file": data.artifact.sha256}).status_code == 404
    assert client.get(f"/runs/new/?data={data.pk}").status_code == 404
    assert "sums" not in client.get("/data/").content.decode()


@pytest.mark.parametrize("sha256", ["", "x", "\0", "../../etc/passwd", "0" * 64, "A" * 64])
def test_a_missing_file_gets_404(alice: User, sha256: str) -> None:
    assert as_(alice).get("/data/new/preview/", {"file": sha256}).status_code == 404


def test_a_run_can_be_made_from_a_data_set(alice: User) -> None:
    client = as_(alice)
    data = keep(
        client, JSONL * 1 + b"".join(b'{"q": "%d?", "a": "%d"}\n' % (n, n) for n in range(40))
    )
    page = client.get(f"/runs/new/?data={data.pk}").content.decode()
    assert f'value="dataset:sums@{data.fingerprint}"' in page and "Ready to start" in page
    assert "42 training" not in page  # a share is held out


def test_a_data_set_without_runs_can_be_deleted(erin: User, still: Team) -> None:
    client = as_(erin)
    data = keep(client, JSONL)
    page = client.post(f"/data/{data.pk}/delete/", follow=True).content.decode()
    assert "sums was deleted." in page
    assert not DataSet.objects.exists()


def test_a_data_set_that_a_run_uses_cannot_be_deleted(erin: User, still: Team) -> None:
    client = as_(erin)
    data = keep(client, JSONL)
    train = {"kind": "file", "path": locations.uri_of_data(data), "columns": data.columns}
    run = lifecycle.create_run(still, erin, {**SPEC, "data": {"train": train}})
    page = client.post(f"/data/{data.pk}/delete/", follow=True).content.decode()
    assert "sums is named by 1 run; delete it first." in page
    # Nor while the deletion of the run can be undone.
    Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now())
    page = client.post(f"/data/{data.pk}/delete/", follow=True).content.decode()
    assert "sums is named by 1 deleted run, which can still be restored." in page
    assert DataSet.objects.exists()
