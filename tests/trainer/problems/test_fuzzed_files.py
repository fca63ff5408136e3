"""Any bytes under any name: read, or refused in a sentence; nothing is written anywhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.targets.data_files import CORPUS, MAPPINGS, NAMES, read_in_every_way
from trainer.text.problems.addresses import opened


def check(folder: Path, name: str, content: bytes) -> None:
    """Read the file in every way; any error but ProblemError fails the test."""
    path = folder / name
    path.write_bytes(content)
    for columns in MAPPINGS:
        for sentence in read_in_every_way(path, columns):
            # It can be stored and sent to a page, and is not the whole file.
            assert sentence.encode() is not None
            assert len(sentence) < 10_000
    assert os.listdir(folder) == [name]
    path.unlink()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed")


@given(name=st.sampled_from(NAMES), content=st.binary(max_size=60))
@example(name="a.jsonl", content=b"\0")
@example(name="a.csv", content=b"\xff\xfe")
@example(name="a.csv", content=b"\xff\xfe\x00\x00")
@example(name="a.json", content=b"{" + b'"a":{' * 2000)
@example(name="a.parquet", content=b"PAR1\0\0\0\0PAR1")
def test_any_bytes_are_read_or_refused(folder: Path, name: str, content: bytes) -> None:
    check(folder, name, content)


@given(
    kind=st.sampled_from(sorted(CORPUS)),
    name=st.sampled_from(NAMES),
    place=st.floats(0, 1),
    cut=st.integers(0, 12),
    put=st.binary(max_size=6) | st.sampled_from([b'"', b"{", b"[", b",", b"\n", b"\0", b"\r"]),
)
def test_a_file_with_a_damaged_part_is_read_or_refused(
    folder: Path, kind: str, name: str, place: float, cut: int, put: bytes
) -> None:
    content = CORPUS[kind]
    at = int(place * len(content))
    check(folder, name, content[:at] + put + content[at + cut :])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "from", "value", "text", "label", "0", "x.y[0]", ""]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
NAMED = st.sampled_from(
    ["question", "answer", "choices", "meta", "messages", "prompt", "chosen", "rejected", "{q}"]
)


@given(rows=st.lists(st.dictionaries(NAMED, VALUES, max_size=5), max_size=4))
def test_rows_of_any_values_are_read_or_refused(folder: Path, rows: list[object]) -> None:
    check(folder, "a.json", json.dumps(rows).encode())
    check(folder, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


@given(text=st.text(st.sampled_from("[]{}()'\"\\,: \n1.-eaNnoTruarray"), max_size=40))
def test_any_text_is_opened_or_stays(text: str) -> None:
    opened(f"[{text}]")
    opened(f"{{{text}}}")
