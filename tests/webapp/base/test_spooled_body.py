"""A body is read as it was written, and what has been read takes no disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.base.spooled_body import PIECES, SpooledBody


@pytest.fixture(autouse=True)
def _on_the_disk(settings: Any, tmp_path: Path) -> None:
    """Pieces of a hundred bytes are files already."""
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 100
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)


def files_of(body: SpooledBody) -> int:
    return sum(os.fstat(piece.fileno()).st_size for piece in body._pieces)


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 500))
def test_a_body_is_read_as_it_was_written(chunks: list[bytes], size: int) -> None:
    body = SpooledBody(4000)
    for chunk in chunks:
        body.append(chunk)
    reader, read = body.reader(), b""
    while part := reader.read(size):
        read += part
    assert read == b"".join(chunks) and body.size == len(read)
    reader.close()


def test_what_has_been_read_takes_no_disk() -> None:
    length = 64_000
    body = SpooledBody(length)
    for _ in range(length // 500):
        body.append(b"x" * 500)
    reader, read = body.reader(), 0
    assert files_of(body) == length
    while part := reader.read(1000):
        read += len(part)
        assert read + files_of(body) <= length * (1 + 2 / PIECES) + 10_000
    assert read == length and files_of(body) == 0
