"""The Files tab: what a client has logged is listed and shown, and never runs in a browser."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from webapp.access.models import Team, User
from webapp.clients import file_previews, run_files, runs
from webapp.clients.client_batch import LoggedFile
from webapp.runs.models import Run


@pytest.fixture
def logged(still: Team, alice: User) -> Run:
    return runs.create(runs.project(still, "sums"), alice, "mlflow", "first")


def put(run: Run, path: str, content: bytes) -> str:
    """Store a file; return the address of the page that shows it."""
    run_files.put(run, LoggedFile(path), io.BytesIO(content), len(content))
    return f"/runs/{run.public_id}/files/?file={path}"


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_an_image_is_shown_whatever_its_name(
    client: Client, logged: Run, bob: User, kind: str
) -> None:
    client.force_login(bob)
    page = client.get(put(logged, "images/a.svg", picture(kind)))
    source = f"/runs/{logged.public_id}/files/images/a.svg"
    assert f'<img src="{source}" alt="images/a.svg">' in page.content.decode()
    answer = client.get(source)
    assert answer["Content-Type"] == f"image/{kind}" and answer.getvalue() == picture(kind)
    assert answer["Content-Disposition"].startswith("inline")
    assert "attachment" in client.get(f"{source}?download")["Content-Disposition"]


HOSTILE = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize("path", ["a.svg", "a.html", "a.png", "a.json", "a.csv", 'a"><b>.js'])
def test_nothing_active_is_sent_as_such(client: Client, logged: Run, bob: User, path: str) -> None:
    client.force_login(bob)
    page = client.get(put(logged, path, HOSTILE)).content.decode()
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page and "<b>" not in page
    answer = client.get(f"/runs/{logged.public_id}/files/{path}")
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert answer.getvalue() == HOSTILE


def test_a_table_is_shown_in_pages(client: Client, logged: Run, bob: User) -> None:
    client.force_login(bob)
    rows = [[number, f"<i>{number}"] for number in range(120)]
    address = put(logged, "t.json", json.dumps({"columns": ["a", "b"], "data": rows}).encode())
    last = client.get(f"{address}&rows=3").content.decode()
    assert "Rows 101–120 of 120" in last and "&lt;i&gt;119" in last and "&lt;i&gt;99" not in last
    for number in ("0", "-1", "9" * 30, "x", ""):
        assert client.get(f"{address}&rows={number}").status_code == 200


@pytest.mark.parametrize(
    ("name", "content", "columns", "row"),
    [
        ("a.json", '{"columns":["a"],"data":[[1.5]]}', ["a"], ["1.5"]),
        ("a.table.json", '[{"a":1},{"b":null,"a":"x"}]', ["a", "b"], ["1", ""]),
        ("a.csv", 'a,b\n1,"x\ny"\n', ["a", "b"], ["1", "x\ny"]),
    ],
)
def test_tables_of_each_client_are_read(
    name: str, content: str, columns: list[str], row: list[str]
) -> None:
    shown = file_previews.preview(io.BytesIO(content.encode()), name, len(content))
    assert (shown.kind, shown.columns) == ("table", columns)
    assert [cell.text for cell in shown.rows[0]] == row


def test_a_picture_in_a_table_leads_to_its_file() -> None:
    cells: list[dict[str, Any]] = [
        {"_type": "trackio.image", "file_path": "sums/first/3/x.png", "caption": "red"},
        {"type": "image", "filepath": "table_images/y.png"},
        {"_type": "image-file", "path": "media/images/z.png"},
    ]
    content = json.dumps({"columns": ["a", "b", "c"], "data": [cells]}).encode()
    shown = file_previews.preview(io.BytesIO(content), "t.json", len(content))
    assert list(shown.rows[0]) == [
        ("red", "media/3/x.png"),
        ("y.png", "table_images/y.png"),
        ("z.png", "media/images/z.png"),
    ]


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=60)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.tuples(anything, anything).map(
        lambda pair: json.dumps({"columns": pair[0], "data": pair[1]}).encode()
    )
    | st.sampled_from([b"[" * 5000, b'{"columns":[1],"data":[[1,2],[]]}', b"\xff\xd8\xff", b""]),
    name=st.sampled_from(["a.json", "a.csv", "a.txt", ""]),
)
def test_any_content_has_a_preview(content: bytes, name: str) -> None:
    shown = file_previews.preview(io.BytesIO(content), name, len(content))
    assert shown.kind in ("image", "table", "text", "")
    assert shown.kind != "text" or shown.text == content.decode()


def test_a_long_file_is_shown_by_its_beginning() -> None:
    content = "ä".encode() * file_previews.LONGEST_TABLE
    for name in ("a.txt", "a.json"):
        shown = file_previews.preview(io.BytesIO(content), name, len(content))
        assert shown.is_cut and set(shown.text) == {"ä"}
    values = b"[" + b"[]," * file_previews.MOST_VALUES + b"[]]"
    shown = file_previews.preview(io.BytesIO(values), "a.json", len(values))
    assert (shown.kind, shown.is_cut) == ("text", True)


def test_a_file_that_the_store_has_lost_says_so(
    client: Client, logged: Run, bob: User, tmp_path: Path
) -> None:
    client.force_login(bob)
    address = put(logged, "a.txt", b"x")
    (stored,) = (tmp_path / "store").glob("*/*")
    stored.unlink()
    assert "has lost this file" in client.get(address).content.decode()
    assert client.get(f"/runs/{logged.public_id}/files/a.txt").status_code == 404
    assert client.get(f"/runs/{logged.public_id}/files/?file=none%00").status_code == 404
