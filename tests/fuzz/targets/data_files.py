"""Data files: any content under any name, with any mapping of its columns."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from tests.fuzz import mutation
from tests.fuzz.inputs import Input, Read, Target
from trainer.spec import Columns, FileProblems
from trainer.text.problems import (
    ProblemError,
    choice_answers,
    inspect,
    load_source,
    preview,
    survey,
)
from webapp.library import data_files

NAMES = ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.arrow", "a", "a.txt", "a.ndjson")
FOLDERS = ("train", "test", "main/train", ".hidden", "data")
# The name under which an input has its mapping.
COLUMNS = "columns"
ROWS: list[dict[str, Any]] = [
    {"question": "2+3?", "answer": "5", "choices": ["4", "5"], "meta": {"x": [1, None]}},
    {"question": "é?", "answer": "#### 1,234", "choices": [], "meta": {"x": []}},
]
CONVERSATIONS = [
    {
        "messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}],
        "answers": {"text": ["5"], "label": ["A"]},
        "subject": "add",
        "id": 7,
    }
]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    return bytes(sink.getvalue())


def arrow(rows: list[dict[str, Any]]) -> bytes:
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


CORPUS: dict[str, bytes] = {
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "list": json.dumps(ROWS, indent=1).encode(),
    "wrapped": json.dumps({"version": 1, "data": ROWS}).encode(),
    "splits": json.dumps({"train": ROWS, "test": ROWS}).encode(),
    "columns": json.dumps({"question": {"0": "a"}, "answer": {"0": "1"}}).encode(),
    "csv": b"sep=;\nquestion;answer;choices\n\"2\n+3?\";5;['4' '5']\n",
    "utf-16": "question,answer\na?,1\n".encode("utf-16"),
    "parquet": parquet(ROWS),
    "arrow": arrow(ROWS),
}
MAPPINGS = [
    Columns(),
    Columns(unusable_rows="leave_out", domain="meta.x[0]", history="meta"),
    Columns(choices="choices", answer_from="last_box"),
    Columns(question="{question}\n{meta.x}", answer="choices[0]"),
]
SEEDS: list[Input] = [
    *({name: content} for content in CORPUS.values() for name in ("a.jsonl", "a")),
    {"a.parquet": CORPUS["parquet"]},
    {"a.arrow": CORPUS["arrow"]},
    {"a.csv": CORPUS["csv"], COLUMNS: b'{"question": "question", "choices": "choices"}'},
    *({"a.json": json.dumps(rows).encode()} for rows in (ROWS, CONVERSATIONS)),
    {"a.parquet": parquet(CONVERSATIONS), COLUMNS: b'{"question": "messages"}'},
]
ADDRESSES = (
    *("question", "answer", "choices", "meta", "meta.x", "meta.x[0]", "choices[-1]", "messages"),
    *("{question}\n{answer}", "{question} {{x}}", "answers.text[0]", "answers", "subject", "id"),
    *("[0]", "a.b.c.d.e", "question[999999999]", "x[" * 40, ".", "{", "}", "{}", "{messages}"),
)
COLUMN_NAMES = ("question", "answer", "choices", "meta", "messages", "prompt", "chosen", "rejected")
MESSAGE_NAMES = ("role", "content", "from", "value", "text", "label", "0", "x.y[0]", "", "{q}")
TYPES: tuple[Callable[[], Any], ...] = (
    pa.int64, pa.float16, pa.float64, pa.string, pa.large_string, pa.binary, pa.bool_, pa.date32,
    lambda: pa.timestamp("ns", "Europe/Berlin"), lambda: pa.decimal128(38, 9), pa.null,
    lambda: pa.list_(pa.string()), lambda: pa.map_(pa.string(), pa.int64()), lambda: pa.binary(4),
    lambda: pa.dictionary(pa.int32(), pa.string()), lambda: pa.struct([("text", pa.string())]),
    lambda: pa.time64("us"), lambda: pa.large_list(pa.float32()), lambda: pa.duration("s"),
)  # fmt: skip


def read_in_every_way(path: Path, columns: Columns) -> list[str]:
    """Read a file as a run and the pages do; return how each of them was refused, or nothing."""
    source = FileProblems(path=f"file:{path}", columns=columns)
    named = FileProblems(path=f"file:{path}", shape="auto")
    reads: list[Callable[[], object]] = [
        lambda: inspect(path),
        lambda: preview(path, columns),
        lambda: survey(source, path),
        lambda: load_source(named, lambda _: path),
        lambda: choice_answers(path, columns),
        lambda: data_files.look(path),
    ]
    return [sentence_of(read) for read in reads]


def sentence_of(read: Callable[[], object]) -> str:
    """Why a file cannot be read, or nothing."""
    try:
        read()
    except ProblemError as error:
        return str(error)
    return ""


@contextmanager
def open_target(folder: Path) -> Iterator[Read]:
    yield read


def read(input: Input, folder: Path) -> str:
    files = {name: content for name, content in input.items() if name != COLUMNS}
    path = folder
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        columns = Columns.model_validate(json.loads(input.get(COLUMNS, b"{}")))
    # The form and the definition refuse such columns before a file is read.
    except (ValidationError, ValueError, RecursionError):
        columns = Columns()
    return "\n".join(read_in_every_way(path if len(files) == 1 else folder, columns))


def make(random: Random, known: list[Input]) -> Input:
    kind = random.randrange(10)
    if kind < 4:
        input = dict(random.choice(known))
        name = random.choice(list(input))
        others = [content for each in random.choices(known, k=4) for content in each.values()]
        input[name] = mutation.changed_bytes(random, input[name], others)
    else:
        name = random.choice(NAMES)
        rows = _rows(random)
        input = {name: _written(random, name, rows)}
        if kind < 6:
            input[name] = mutation.changed_bytes(random, input[name])
        elif kind == 6:
            folder = random.choice(FOLDERS)
            input = {
                f"{folder}/{name}": input[name],
                f"{random.choice(FOLDERS)}/b.csv": b"a,b\n1,2\n",
            }
    if random.random() < 0.5:
        input[COLUMNS] = json.dumps(_mapping(random)).encode()
    return input


def _rows(random: Random) -> list[Any]:
    if random.random() < 0.3:
        changed = mutation.changed_json(random, random.choice((ROWS, CONVERSATIONS)))
        return changed if isinstance(changed, list) else [changed]
    count = random.choice((1, 1, 2, 3, 40))
    return [
        {random.choice(COLUMN_NAMES): _cell(random) for _ in range(random.randrange(1, 6))}
        for _ in range(count)
    ]


def _cell(random: Random) -> Any:
    match random.randrange(6):
        case 0:
            names = random.choices(MESSAGE_NAMES, k=random.randrange(1, 4))
            item = {name: mutation.value(random, 1) for name in names}
            return random.choice((item, [item] * random.choice((1, 2, 30))))
        case 1:
            # Tables of text hold nested values as JSON or in Python's notation.
            cell = mutation.value(random, 3)
            return random.choice((json.dumps, repr))(cell)[:20_000]
        case 2:
            return [mutation.text(random)[:200] for _ in range(random.randrange(6))]
        case 3:
            return "".join(random.choices("[]{}()'\"\\,: \n1.-eaNnoTruarray", k=40))
    return mutation.value(random, 3)


def _written(random: Random, name: str, rows: list[Any]) -> bytes:
    suffix = name.rpartition(".")[2] if random.random() < 0.9 else random.choice(NAMES)[2:]
    if suffix in ("parquet", "arrow"):
        try:
            return _packed(random, suffix, _table(random, rows))
        # Not every table of Arrow can be written as Parquet.
        except (pa.ArrowException, NotImplementedError):
            suffix = "jsonl"
    if suffix in ("csv", "tsv", "txt"):
        return _csv(random, rows)
    if suffix in ("jsonl", "ndjson"):
        return b"\n".join(mutation.encoded(random, row).replace(b"\n", b"") for row in rows)
    wrapped = random.choice(
        (rows, {"data": rows}, {"train": rows, "test": rows}, {"version": 1, "rows": rows})
    )
    return mutation.encoded(random, wrapped)


def _packed(random: Random, suffix: str, table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    if suffix == "arrow":
        new = random.choice((pa.ipc.new_stream, pa.ipc.new_file))
        with new(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        compression = random.choice(("zstd", "snappy", "gzip", "none"))
        pq.write_table(table, sink, compression=compression)
    return bytes(sink.getvalue())


def _csv(random: Random, rows: list[Any]) -> bytes:
    separator = random.choice(",;\t|")
    names = [str(name) for row in rows[:1] if isinstance(row, dict) for name in row]
    lines = [names, *(row.values() if isinstance(row, dict) else [row] for row in rows)]
    text = io.StringIO()
    for line in lines:
        cells = [str(cell)[:5000] for cell in line]
        quoted = [
            '"' + cell.replace('"', '""') + '"' if random.random() < 0.5 else cell for cell in cells
        ]
        text.write(separator.join(quoted) + random.choice(("\n", "\r\n")))
    encoding = random.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    return text.getvalue().encode(encoding, "replace")


def _table(random: Random, rows: list[Any]) -> pa.Table:
    """The rows as a table, or columns of rare types where they have no common type."""
    try:
        return pa.Table.from_pylist([row for row in rows if isinstance(row, dict)])
    except (pa.ArrowException, ValueError, TypeError, OverflowError, UnicodeError):
        pass
    count = random.choice((1, 3, 1000))
    columns = {}
    for name in random.sample(COLUMN_NAMES, k=random.randrange(1, 5)):
        kind = random.choice(TYPES)()
        columns[name] = random.choice((pa.nulls(count, kind), _zeros(kind, count)))
    return pa.table(columns)


def _zeros(kind: Any, count: int) -> Any:
    try:
        return pa.array([0] * count).cast(pa.string()).cast(kind)
    except pa.ArrowException:
        return pa.nulls(count, kind)


def _mapping(random: Random) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name in random.sample(list(Columns.model_fields), k=random.randrange(1, 6)):
        mapping[name] = random.choice(ADDRESSES)
    if random.random() < 0.5:
        mapping["unusable_rows"] = "leave_out"
        mapping.pop("choice_answers", None)
        mapping["answer_from"] = random.choice(("text", "last_box"))
    return mapping


TARGET = Target(SEEDS, make, open_target)
