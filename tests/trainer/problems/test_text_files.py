"""Text of any encoding and table of any notation: read as what it is, or refused by name."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.problems.test_files import ROWS, read, refusal, write, write_csv, write_jsonl
from trainer.text.problems import ProblemError, inspect
from trainer.text.problems.files import rows

TABLE = "question,answer\nWas ist 3 × 4?,12\nñandú 問題?,5\n"
LINES = '{"question": "Was ist 3 × 4?", "answer": "12"}\n{"question": "ñ 問題?", "answer": "5"}\n'


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize(("name", "text"), [("a.csv", TABLE), ("a.jsonl", LINES), ("a", LINES)])
def test_a_text_is_read_in_every_encoding_of_unicode(
    tmp_path: Path, name: str, text: str, encoding: str
) -> None:
    expected = read(write(tmp_path / f"utf8{name}", text))
    found = read(write(tmp_path / name, text.encode(encoding)))
    assert found.items == expected.items
    assert inspect(tmp_path / name).format == ("csv" if name == "a.csv" else "jsonl")


def test_a_json_list_is_read_in_utf_16(tmp_path: Path) -> None:
    text = json.dumps(ROWS, indent=1)
    expected = read(write_jsonl(tmp_path / "a.jsonl", ROWS))
    assert read(write(tmp_path / "a.json", text.encode("utf-16"))) == expected


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "iso8859-15", "cp850", "koi8-r"])
def test_an_encoding_that_cannot_be_told_is_refused_with_the_remedy(
    tmp_path: Path, encoding: str
) -> None:
    text = (
        "question,answer\nwhy?,1\nйцу?,2\n" if encoding == "koi8-r" else "question,answer\né?,1\n"
    )
    sentence = refusal(write(tmp_path / "a.csv", text.encode(encoding)))
    assert f"line {3 if encoding == 'koi8-r' else 2} of a.csv is not UTF-8 text" in sentence
    assert "save the file as UTF-8" in sentence


@pytest.mark.parametrize(
    "content", [b"q\0\0\0u\0\0\0", b"\0" * 40, b"question,answer\n\0,1\n", b"\0q", b"q\0,"]
)
def test_nul_bytes_are_a_sentence(tmp_path: Path, content: bytes) -> None:
    assert "a.csv" in refusal(write(tmp_path / "a.csv", content))


@pytest.mark.parametrize("start", ["\n", "\r\n\r\n", "  \n", "\ufeff\n", "\n" * 6_000])
@pytest.mark.parametrize(("name", "text"), [("a.csv", TABLE), ("a.jsonl", LINES)])
def test_blank_lines_before_the_first_row_are_passed_over(
    tmp_path: Path, name: str, text: str, start: str
) -> None:
    expected = read(write(tmp_path / f"plain-{name}", text))
    assert read(write(tmp_path / name, start + text)) == expected


@given(text=st.text(st.sampled_from('a",;\t\n\r é'), max_size=30))
def test_a_table_is_read_as_pythons_own_reader_reads_it(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """The reference is Python's `csv`, which has one limit for the whole process."""
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", f"x,y\n{text}")
    try:
        records = list(csv.reader(io.StringIO(f"x,y\n{text}", newline=""), strict=True))[1:]
        expected = [record for record in records if record not in ([], [""])]
        assert all(len(record) == 2 for record in expected)
    except (csv.Error, AssertionError):
        return
    assert [list(row.values.values()) for row in rows(path)] == expected


@given(
    table=st.lists(
        st.tuples(*[st.text(st.sampled_from('a",;\n\r\t|é '), min_size=1, max_size=9)] * 2),
        min_size=1,
        max_size=4,
    ),
    separator=st.sampled_from(",;\t|"),
)
def test_what_a_spreadsheet_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str]], separator: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write_csv(path, [{"question": a, "answer": b} for a, b in table], separator)
    assert [tuple(row.values.values()) for row in rows(path)] == table


def test_pythons_own_limit_on_values_is_left_alone(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    assert len(read(write_csv(tmp_path / "a.csv", [{**ROWS[0], "note": "x" * 300_000}]))) == 1
    assert csv.field_size_limit() == limit == 131_072


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\n", "is empty"),
        (",,\n1,2,3\n", "the header of a.csv names no column"),
        ("question,answer\n", "has no rows after its header"),
        ("question,answer\n1\n", "line 2 of a.csv has 1 values, the header has 2"),
        ("question,answer\n1,2,3,4\n", "line 2 of a.csv has 4 values, the header has 2"),
        ('question,answer\n"1"x,2\n', "“x” follows the quote that ends a value"),
        ('question,answer\n"1,2\n', "line 2 of a.csv is not valid CSV: a quote is opened"),
        (
            'question,answer\n"' + ("1" * 99 + "\n") * 100_000,
            "the record at line 2 of a.csv is long",
        ),
        (",".join(["question"] * 20_000), "two columns called “question”"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    assert sentence in refusal(write(tmp_path / "a.csv", text))


def test_names_that_are_no_names_are_refused_before_the_mapping(tmp_path: Path) -> None:
    text = "It was a long day. " * 100
    path = write(tmp_path / "a.csv", f'"{text}","{text}!"\na?,1\n')
    with pytest.raises(ProblemError, match="a column whose name has 1,899 characters; at most 500"):
        inspect(path)
    inner = write(tmp_path / "b.jsonl", json.dumps({"question": {"x" * 600: 1, "y": 2}}))
    assert inspect(inner).addresses == ("question.y",)


def test_empty_cells_behind_the_last_column_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "question,answer\na?,1,,\nb?,2\n")
    assert [problem.answer for problem in read(path).items] == ["1", "2"]
