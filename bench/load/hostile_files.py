"""Small files that cost a careless reader seconds or gigabytes, and the pages that take them."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

DATA, IMPORT, MODEL = "/data/new/", "/runs/bring/", "/models/new/"


@dataclass(frozen=True)
class HostileFile:
    """A file that is posted to the page at `address` as the form field `field`."""

    address: str
    field: str
    name: str
    content: bytes
    options: tuple[tuple[str, str], ...] = ()


def hostile_files() -> list[HostileFile]:
    history = ("format", "wandb"), ("project", "load")
    return [
        HostileFile(DATA, "file", "expanding.parquet", _expanding_parquet()),
        HostileFile(DATA, "file", "names.csv", _many_names()),
        HostileFile(DATA, "file", "keys.jsonl", _many_keys()),
        HostileFile(DATA, "file", "deep.json", b"[" * 200_000),
        HostileFile(DATA, "file", "digits.jsonl", b'{"question": ' + b"9" * 200_000 + b"}\n"),
        HostileFile(DATA, "file", "long_cell.csv", b'q,a\n"' + b"x" * 30_000_000 + b'",1\n'),
        HostileFile(IMPORT, "files", "wandb.zip", _aliases(), history),
        HostileFile(IMPORT, "files", "zeros.zip", _zeros(), history),
        HostileFile(IMPORT, "files", "names.csv", _many_names(), history),
        HostileFile(MODEL, "files", "tokenizer.json", _large_tokenizer(), (("name", "large"),)),
    ]


def _expanding_parquet() -> bytes:
    """One text of 1.5 MB that 1,024 rows refer to."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), ["x" * 1_500_000])
    stream = io.BytesIO()
    pq.write_table(pa.table({"question": column, "answer": column}), stream, compression="zstd")
    return stream.getvalue()


def _many_names() -> bytes:
    names = ",".join(f"n{number}" for number in range(80_000))
    return f"{names}\n{','.join('1' * 80_000)}\n".encode()


def _many_keys() -> bytes:
    return json.dumps({f"k{number}": number for number in range(20_000)}).encode() + b"\n"


def _large_tokenizer() -> bytes:
    vocabulary = {f"token{number}": number for number in range(1_000_000)}
    model = {"type": "WordLevel", "unk_token": "token0", "vocab": vocabulary}
    return json.dumps({"version": "1.0", "added_tokens": [], "model": model}).encode()


def _aliases() -> bytes:
    """A configuration whose nine levels of aliases stand for 10⁹ values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)
    ]
    return _zipped("run-20260101_000000-aaaaaaaa/files/config.yaml", "\n".join(lines).encode())


def _zeros() -> bytes:
    return _zipped("zeros.csv", bytes(500_000_000))


def _zipped(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()
