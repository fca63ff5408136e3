"""Data files of every format: what is read, and the sentence for each thing that is wrong with
one.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.spec import Columns, Data, FileProblems
from trainer.text.problems import Problem, ProblemError, ProblemSet, inspect, load, preview, survey

ROWS = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(20)]
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20
).filter(str.strip)


def read(path: Path, **settings: object) -> ProblemSet:
    return load(FileProblems.model_validate({"path": f"file:{path}", **settings}), Data())


def refusal(path: Path, **settings: object) -> str:
    with pytest.raises(ProblemError) as caught:
        read(path, **settings)
    return str(caught.value)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_jsonl(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path: Path, rows: Sequence[Mapping[str, str]], separator: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_the_same_problems_are_the_same_from_every_format(tmp_path: Path) -> None:
    jsonl = read(write_jsonl(tmp_path / "a.jsonl", ROWS))
    assert jsonl == read(write_csv(tmp_path / "a.csv", ROWS))
    assert jsonl == read(write_csv(tmp_path / "a.tsv", ROWS, "\t"))
    assert jsonl == read(write_parquet(tmp_path / "a.parquet", ROWS))
    assert len(jsonl) == 20
    assert jsonl.items[3].question == "What is 3 + 3?"


def test_the_format_is_told_from_the_content_where_the_name_says_nothing(tmp_path: Path) -> None:
    expected = read(write_jsonl(tmp_path / "a.jsonl", ROWS))
    assert expected == read(write_jsonl(tmp_path / "one", ROWS))
    assert expected == read(write_csv(tmp_path / "two", ROWS, ";"))
    assert expected == read(write_parquet(tmp_path / "three.data", ROWS))


@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5, unique=True))
def test_any_text_comes_through_every_format_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    table = [{"question": question, "answer": f"= {answer}"} for question, answer in rows]
    jsonl = read(write_jsonl(folder / "a.jsonl", table))
    assert (
        jsonl
        == read(write_parquet(folder / "a.parquet", table))
        == read(write_csv(folder / "a.csv", table))
    )


def test_columns_are_mapped(tmp_path: Path) -> None:
    row = {"q": " why? ", "a": 0.10, "how": "think", "nr": 7, "topic": "x", "level": None}
    path = write(tmp_path / "a.jsonl", json.dumps(row).replace("0.1", "0.10") + "\n")
    columns = {
        "question": "q",
        "answer": "a",
        "solution": "how",
        "id": "nr",
        "domain": "topic",
        "difficulty": "level",
    }
    assert read(path, columns=columns).items == (Problem("7", "why?", "0.10", "think", "x", ""),)


def test_the_answer_format_of_gsm8k_is_recognised(tmp_path: Path) -> None:
    answer = "It costs $<<500*2=1000>>1,000.\nSo 1,234,567 in all.\n#### 1,234,567"
    problem = read(
        write_jsonl(tmp_path / "a.jsonl", [{"question": "How much?", "answer": answer}])
    ).items[0]
    assert problem.answer == "1234567"
    assert problem.solution == "It costs $<<500*2=1000>>1,000.\nSo 1,234,567 in all."


def test_hashes_that_are_no_answer_line_are_left_alone(tmp_path: Path) -> None:
    rows = [
        {"question": "a?", "answer": "#### 3\nand more"},
        {"question": "b?", "answer": "C #### 3"},
    ]
    assert [problem.answer for problem in read(write_jsonl(tmp_path / "a.jsonl", rows)).items] == [
        "#### 3\nand more",
        "C #### 3",
    ]


def test_gsm8k_itself_is_read() -> None:
    """Real data: the first rows of GSM8K as published."""
    folder = Path(__file__).resolve().parents[2] / "gsm8k"
    train, test = read(folder / "train.jsonl"), read(folder / "test.jsonl")
    assert (len(train), len(test)) == (40, 20)
    assert test.items[0].answer == "18"
    assert all(
        problem.answer.lstrip("-").replace(".", "").isdigit()
        for problem in (*train.items, *test.items)
    )
    assert not any("####" in problem.solution for problem in train.items)


@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5, unique=True))
def test_a_list_of_objects_is_read_however_it_is_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    table = [{"question": question, "answer": f"= {answer}"} for question, answer in rows]
    expected = read(write_jsonl(folder / "a.jsonl", table))
    spaced = json.dumps(table, indent=2, ensure_ascii=False)
    for name, text in {
        "compact.json": json.dumps(table),
        "spaced.json": spaced,
        "marked.json": f"\ufeff{spaced}",
        "windows.json": spaced.replace("\n", "\r\n"),
        "old.json": spaced.replace("\n", "\r"),
        "named_wrongly.jsonl": spaced,
        "without_a_suffix": spaced,
        "wrapped.json": json.dumps({"version": "1.0", "data": table}, indent=1),
        "objects.json": "\n".join(json.dumps(row, indent=1) for row in table),
    }.items():
        assert read(write(folder / name, text)) == expected, name


def test_a_list_is_read_entry_by_entry(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": str(n), "note": "x" * 5_000} for n in range(200)]
    path = write(tmp_path / "a.json", json.dumps(rows))
    assert [problem.answer for problem in read(path).items] == [str(n) for n in range(200)]
    # Of a list that goes on without end only the head is read for the mapping.
    with path.open("ab") as file:
        file.truncate(2 * 2**30)
    assert inspect(path, count=3).format == "json"


def test_one_entry_may_be_longer_than_a_block(tmp_path: Path) -> None:
    rows = [{"question": "a?", "answer": "1", "note": "é" * 300_000}, ROWS[3]]
    found = read(write(tmp_path / "a.json", json.dumps(rows, ensure_ascii=False)))
    assert [problem.question for problem in found.items] == ["a?", ROWS[3]["question"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "first", ["", "sep=;\n", '"sep=;"\n', "SEP=;\n", "sep=\t\n", "sep=|\n", "sep=:\n"]
)
def test_tables_are_read_as_spreadsheets_write_them(
    tmp_path: Path, first: str, mark: str, end: str
) -> None:
    separator = first.replace('"', "").strip("\n")[-1:] or ","
    table = f'question{separator}answer\n"a, b; c?"{separator}"1\n2"\n\nd?{separator}3\n'
    # Line breaks inside quotes are part of the text.
    text = (mark + first + table).replace("\n", end)
    found = read(write(tmp_path / "a.csv", text))
    assert [(problem.question, problem.answer) for problem in found.items] == [
        ("a, b; c?", f"1{end}2"),
        ("d?", "3"),
    ]
    columns = {"question": "question", "answer": "missing"}
    row = 4 if first else 3
    assert f"row {row} of a.csv" in refusal(tmp_path / "a.csv", columns=columns)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_json_may_end_in_any_way(tmp_path: Path, end: str) -> None:
    text = "".join(json.dumps(row) + end for row in ROWS)
    assert read(write(tmp_path / "a.jsonl", text)) == read(write_jsonl(tmp_path / "b.jsonl", ROWS))
    broken = write(tmp_path / "c.jsonl", text + "{" + end)
    assert "line 21 of c.jsonl" in refusal(broken)


def test_columns_without_a_name_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ",question,answer,,\n0,a?,1,,\n")
    assert inspect(path).columns == ("question", "answer")
    assert read(path).items[0].answer == "1"


def test_a_cell_may_be_longer_than_pythons_limit_for_csv(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [{**ROWS[0], "note": "x" * 300_000}])
    assert len(read(path)) == 1
    assert "has 300,000 characters; at most 100,000" in refusal(path, columns={"answer": "note"})


def test_empty_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    jsonl = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"question": "a?", "answer": "1"}\r\n\r\n')
    table = write(tmp_path / "a.csv", b"\xef\xbb\xbfquestion,answer\r\na?,1\r\n\r\n")
    assert read(jsonl) == read(table)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", "", "a.jsonl is empty; it needs one row per problem"),
        ("a.csv", "\ufeff \n\n", "a.csv is empty"),
        ("a.csv", "question,answer\n", "a.csv has no rows after its header"),
        (
            "a.jsonl",
            b'{"question": "caf\xe9", "answer": "1"}\n',
            "line 1 of a.jsonl is not UTF-8 text (byte 0xe9 at position 18)",
        ),
        (
            "a.csv",
            "question,answer\né?,1\n".encode("cp1252"),
            "perhaps Windows-1252 or Latin-1; save the file as UTF-8 (in Excel: “CSV UTF-8”)",
        ),
        (
            "a.csv",
            "question,answer\n1?,1\n".encode("utf-16") + b"\x00\xd8x\x00",
            "is not UTF-16 text",
        ),
        ("a.csv", b"question,answer\nwhy?,\x00\n", "line 2 of a.csv contains a NUL character"),
        (
            "a.jsonl",
            '{"question": "a?", "answer": "1"}\n{"question": "b',
            "line 2 of a.jsonl, the last, is cut off",
        ),
        (
            "a.jsonl",
            '{"question": "a?" "answer": "1"}\n',
            "line 1 of a.jsonl is not valid JSON: Expecting ',' delimiter at column 19",
        ),
        (
            "a.jsonl",
            '{"question": "a?", "answer": "1"}\n[1, 2]\n',
            "line 2 of a.jsonl is no JSON object",
        ),
        ("a.json", '{\n "question": "a?"\n}\n', "no column “answer”; it has “question”"),
        ("a.json", "[]", "a.json has no rows"),
        ("a.json", "[1, 2]", "entry 1 of a.json is no JSON object"),
        (
            "a.json",
            '[{"question": "a?", "answer": "1"}, ["b?"]]',
            "entry 2 of a.json is no JSON object",
        ),
        ("a.json", '[{"question": "a?", "answer": "1"}', "a.json is cut off in entry 2"),
        ("a.json", '[{"question": "a?", "answer": "1"},', "a.json is cut off in entry 2"),
        ("a.json", '[{"question": "a?", "answ', "a.json is cut off in entry 1"),
        (
            "a.json",
            '[{"question": "a?", "answer": "1"}, {"question": "b?" "answer": "2"}]' + " " * 99,
            "entry 2 of a.json is not valid JSON: Expecting ',' delimiter",
        ),
        (
            "a.json",
            '[{"question": "a?", "answer": "1"} {"question": "b?", "answer": "2"}]',
            "entry 2 of a.json is not valid JSON: a comma or the end of the list is missing",
        ),
        (
            "a.json",
            '[{"question": "a?", "answer": "1"}]\n[]',
            "a.json goes on after the end of its list",
        ),
        (
            "a.json",
            b'[\n{"question": "caf\xe9", "answer": "1"}]',
            "line 2 of a.json is not UTF-8 text (byte 0xe9 at position 18)",
        ),
        ("a.json", b'[\n\n{"question": "\x00"}]', "line 3 of a.json contains a NUL character"),
        ("a.jsonl", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", '{"question": ' + "[" * 100_000, "nested too deeply"),
        ("a.jsonl", '{"question": "\\ud800?", "answer": "1"}\n', "broken Unicode character"),
        (
            "a.jsonl",
            '{"question": "a\\u0000?", "answer": "1"}\n',
            "broken Unicode character or a NUL",
        ),
        (
            "a.jsonl",
            '{"question": ["a", "b"], "answer": "1"}\n',
            "column “question” in row 1 of a.jsonl holds a list",
        ),
        (
            "a.jsonl",
            '{"problem": "a?", "answer": "1"}\n',
            "no column “question”; it has “problem”, “answer”",
        ),
        ("a.csv", "prompt;target\na?;1\n", "no column “question”; it has “prompt”, “target”"),
        ("a.csv", "question,answer\na?,1,2\n", "line 2 of a.csv has 3 values, the header has 2"),
        ("a.csv", 'question,answer\n"a?,1\nb?,2\n', "a quote is opened and never closed"),
        ("a.csv", 'question,answer\n"a"?,1\n', "is not valid CSV"),
        ("a.csv", "question,answer,answer\na?,1,2\n", "two columns called “answer”"),
        ("a.parquet", b"PAR1 but no more", "a.parquet cannot be read as Parquet"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "a.jsonl is compressed with gzip"),
        ("a.csv", b"PK\x03\x04\x14\x00", "a ZIP archive or an Excel workbook"),
        (
            "a.jsonl",
            json.dumps({"question": "x" * 200_000, "answer": "1"}),
            "has 200,000 characters; at most 100,000",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    tmp_path: Path, name: str, content: str | bytes, sentence: str
) -> None:
    assert sentence in refusal(write(tmp_path / name, content))


def test_a_file_without_a_line_break_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
        file.write(b"x")
    assert "longer than 8 MB" in refusal(path)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "none.csv")
    with pytest.raises(ProblemError, match="only the server knows"):
        load(FileProblems(path="dataset:mine@abc"), Data())


def test_a_hub_data_set_that_cannot_be_fetched_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ProblemError, match="the data set nobody/nothing cannot be fetched from the hub: "
    ):
        load(FileProblems(path="hub:nobody/nothing@main"), Data())


def test_inspection_reads_the_head_of_a_large_file(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl", [{"problem": "a?", "final_answer": 1.50, "Level": 3}] * 200
    )
    with path.open("ab") as file:
        file.truncate(2 * 2**30)
    found = inspect(path, count=3)
    assert (found.format, found.columns, len(found.rows)) == (
        "jsonl",
        ("problem", "final_answer", "Level"),
        3,
    )
    assert found.rows[0] == {"problem": "a?", "final_answer": "1.5", "Level": "3"}
    assert found.guess == {
        "question": "problem", "answer": "final_answer", "choices": None, "solution": None,
        "id": None, "domain": None, "difficulty": "Level", "system": None, "history": None,
        "answer_from": None,
    }  # fmt: skip
    columns = Columns(question="problem", answer="final_answer")
    assert [problem.answer for problem in preview(path, columns, 2)] == ["1.5", "1.5"]


def test_inspection_shows_rows_that_lack_columns(tmp_path: Path) -> None:
    found = inspect(write_jsonl(tmp_path / "a.jsonl", [{"question": "a?"}, {"answer": ["b", 1]}]))
    assert found.rows == (
        {"question": "a?", "answer": ""},
        {"question": "", "answer": '["b", "1"]'},
    )


def test_a_survey_counts_a_file_as_it_would_be_loaded(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, *ROWS[:4]])
    found = survey(FileProblems(path=f"file:{path}"), path)
    assert (found.count, found.fingerprint, found.rows) == (20, read(path).fingerprint, 24)
    assert [left.count for left in found.left_out] == [4]
    with pytest.raises(ProblemError, match="has no rows"):
        survey(FileProblems(path="file:b.csv"), write(tmp_path / "b.csv", "question,answer\n"))


def test_a_table_of_thousands_of_columns_is_refused(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(2_000)]
    file = write(tmp_path / "wide.csv", ",".join(names) + "\n" + ",".join(names) + "\n")
    with pytest.raises(ProblemError, match=r"wide\.csv has 2,000 columns; at most 1,000"):
        inspect(file)
