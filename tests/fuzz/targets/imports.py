"""Files of other trackers: uploaded, unpacked and imported into the database."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.clients.test_imported_files import chart, csv, events, history, jsonl, wandb_file
from tests.clients.test_importers import fixed, message, offline, recorded, scalar, varint
from tests.fuzz import mutation, world
from tests.fuzz.inputs import Input, Read, Target
from webapp.clients.importers import FORMATS, UnreadableFile, import_runs
from webapp.clients.importers.uploaded_files import UploadedFolder
from webapp.runs.models import Run

# The name under which an input has its format.
FORMAT = "format"
POINTS = [(0, 0.5), (10, 0.25), (20, 0.125), (10, 1.5), (30, 3.0)]
META = b"run_id: abc\nrun_name: first\nstatus: 3\nstart_time: 1700000000000\n"
MLRUNS = {
    "mlruns/1/meta.yaml": b"name: sums\nexperiment_id: '1'\n",
    "mlruns/1/abc/meta.yaml": META,
    "mlruns/1/abc/metrics/loss": b"1700000000000 0.5 0\n1700000001000 0.25 10\n",
    "mlruns/1/abc/metrics/eval/acc": b"1700000000000 nan 0\n1700000009000 1 10\n",
    "mlruns/1/abc/params/lr": b"0.1",
    "mlruns/1/abc/tags/mlflow.runName": b"first",
}
# As TensorFlow 2 writes a scalar: a tensor of one float.
TENSOR = message(
    5, message(1, message(1, b"tf2") + message(8, message(1, 1) + message(5, b"\0\0 @")))
)
FILES: dict[str, dict[str, bytes]] = {
    "tensorboard": {
        "a.tfevents.1": events(POINTS),
        "b.tfevents.2": recorded(fixed(1, 1.7e9) + message(2, 1) + TENSOR),
    },
    "wandb": {
        "a.csv": csv(POINTS),
        "b.jsonl": jsonl(POINTS),
        "chart.csv": chart(POINTS),
        "offline.wandb": wandb_file(POINTS),
        "c.csv": b'_step,_timestamp,loss,note\n0,1.7e9,1,"a\nb"\n1,1.7e9,2,c',
    },
    "mlflow": {
        "a.csv": history(POINTS),
        "b.csv": b"run_id,key,value,step,timestamp\nr1,loss,1,0,1000\nr2,loss,2,1,2000\n",
    },
}
ZIP_NAMES = (
    *(
        "../secret",
        "/etc/x",
        "a/../../b",
        "C:\\x\\..\\y",
        "a//b",
        "./a",
        "a/./b",
        "x" * 300,
        "a\0b",
    ),
    *("/".join("d" * 60), "a/", "", ".", "..", "é/é", "CON", "a.csv/b.csv", "mlruns", "-rf", "~"),
)
NAMES = ("_step", "_timestamp", "_runtime", "_wandb", "loss", "Step", "a - loss", "a - loss__MIN")
MLFLOW_NAMES = ("run_id", "key", "value", "step", "timestamp", "", "loss")


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name.replace("\0", "")), content)
    return packed.getvalue()


SEEDS: list[Input] = [
    *(
        {FORMAT: format.encode(), name: content}
        for format, files in FILES.items()
        for name, content in files.items()
    ),
    *({FORMAT: format.encode(), **files} for format, files in FILES.items()),
    {FORMAT: b"mlflow", "runs.zip": zipped(MLRUNS)},
    {FORMAT: b"tensorboard", "runs.zip": zipped({"a/b.tfevents.1": events(POINTS)})},
]


@contextmanager
def open_target(folder: Path) -> Iterator[Read]:
    with world.opened(folder) as opened:

        def read(input: Input, files: Path) -> str:
            format = input.get(FORMAT, b"").decode("latin-1")
            with world.undone():
                outcomes = [_import(opened, format, input, files) for _ in range(2)]
                for run in Run.objects.filter(team=opened.team).order_by("pk")[:2]:
                    opened.get_some_pages(run, input)
            # A refusal names no path of the server.
            assert not any(str(files) in outcome for outcome in outcomes), outcomes
            return outcomes[0]

        yield read


def _import(opened: world.World, format: str, input: Input, files: Path) -> str:
    """Import the files; a second time, nothing may be new. Returns why they were refused."""
    folder = files / str(len(list(files.iterdir())))
    sent = files / f"{folder.name}-sent"
    for made in (folder, sent):
        made.mkdir()
    before = Run.objects.filter(team=opened.team).count()
    try:
        UploadedFolder(folder).add(_sent(input, sent))
        imported = import_runs(
            folder, format if format in FORMATS else "wandb", opened.team, opened.editor, "p"
        )
    except UnreadableFile as refusal:
        return str(refusal)
    count = Run.objects.filter(team=opened.team).count()
    assert before in (0, count), f"{before} runs became {count} when they were imported again"
    return f"{len(imported)} runs"


def _sent(input: Input, folder: Path) -> list[tuple[str, Path]]:
    """Return the files as the web server hands them over: by name, and where they are."""
    sent = []
    for number, (name, content) in enumerate(input.items()):
        if name != FORMAT:
            path = folder / str(number)
            path.write_bytes(content)
            sent.append((name, path))
    return sent


def make(random: Random, known: list[Input]) -> Input:
    format = random.choice(list(FILES))
    kind = random.randrange(12)
    if kind < 4:
        input = dict(random.choice(known))
        names = [name for name in input if name != FORMAT] or [FORMAT]
        name = random.choice(names)
        others = [part for each in random.choices(known, k=3) for part in each.values()]
        input[name] = mutation.changed_bytes(random, input[name], others)
        return input
    if kind == 4:
        return {FORMAT: format.encode(), "runs.zip": _zip(random, format)}
    if kind == 5:
        files = {name: _changed_text(random, content) for name, content in MLRUNS.items()}
        return {FORMAT: b"mlflow", "runs.zip": zipped(files)}
    input = {FORMAT: format.encode(), **_file(random, format)}
    if random.random() < 0.1:
        *_, last = input
        input[random.choice(ZIP_NAMES) + Path(last).suffix] = input.pop(last)
    return input


def _file(random: Random, format: str) -> dict[str, bytes]:
    """A file whose frame is sound, so that what is inside it is read."""
    if format == "tensorboard":
        return {"a.tfevents.1": recorded(*(_event(random) for _ in range(random.randrange(1, 9))))}
    if format == "mlflow":
        return {"a.csv": _table(random, MLFLOW_NAMES)}
    rows = [
        {name: _cell(random) for name in random.choices(NAMES, k=5)}
        for _ in range(random.randrange(9))
    ]
    match random.randrange(4):
        case 0:
            return {"a.csv": _table(random, NAMES)}
        case 1:
            lines = (mutation.encoded(random, row).replace(b"\n", b"") for row in rows)
            return {"a.jsonl": b"\n".join(lines) + random.choice((b"", b"\n"))}
        case 2:
            return {"a.wandb": _offline(rows), "b.wandb": _offline(rows[:2])}
    changed = mutation.changed_json(random, [{"_step": 1, "_timestamp": 1.7e9, "loss": 2}] * 3)
    changed = changed if isinstance(changed, list) else [changed]
    return {"a.jsonl": b"\n".join(json.dumps(row).encode() for row in changed)}


def _offline(rows: list[dict[str, Any]]) -> bytes:
    return offline([{name: value for name, value in row.items() if name.isascii()} for row in rows])


def _event(random: Random) -> bytes:
    """An event of TensorBoard, of which some fields are odd, missing or repeated."""
    step = random.choice((0, 1, 2**62, 2**63, 2**64 - 1, random.randrange(100)))
    tag = mutation.text(random).encode("utf-8", "replace").decode()[:5000]
    time = struct.pack("<d", float(_bounded(mutation.number(random))))
    parts = [
        varint(1 << 3 | 1) + random.choice((time, struct.pack("<d", 1.7e9))),
        message(2, step),
        random.choice((scalar(tag, 0.5), scalar("loss", float("nan")), _tensor(random, tag))),
        message(random.randrange(1, 20), random.randbytes(random.randrange(9))),
    ]
    return b"".join(random.choices(parts, k=random.randrange(1, 6)))


def _tensor(random: Random, tag: str) -> bytes:
    kind = random.choice((1, 2, 3, 19))
    content = random.randbytes(random.choice((0, 4, 8, 12)))
    tensor = (
        message(1, kind) + message(random.choice((4, 5, 6)), content) + message(2, message(2, b""))
    )
    return message(5, message(1, message(1, tag.encode()) + message(8, tensor)))


def _bounded(number: float) -> float:
    return max(-1e308, min(1e308, number)) if isinstance(number, int) else number


def _cell(random: Random) -> Any:
    return random.choice((random.randrange(20), 1.7e9, None, mutation.value(random, 1)))


def _table(random: Random, names: tuple[str, ...]) -> bytes:
    chosen = (
        list(names) if random.random() < 0.6 else random.choices(names, k=random.randrange(1, 9))
    )
    random.shuffle(chosen)
    lines = [chosen]
    for _ in range(random.choice((1, 3, 20))):
        cells = [str(random.choice((random.randrange(99), _short(random)))) for _ in chosen]
        lines.append(cells[: random.choice((len(chosen), len(chosen), len(chosen) - 1))])
    quoted = (
        ",".join('"' + c.replace('"', '""') + '"' if '"' in c or "," in c else c for c in line)
        for line in lines
    )
    end = random.choice(("\n", "\r\n"))
    return (end.join(quoted) + random.choice(("", end))).encode("utf-8", "replace")


def _short(random: Random) -> str:
    value = mutation.number(random) if random.random() < 0.6 else mutation.text(random)
    return json.dumps(value)[:2000] if isinstance(value, int | float) else value[:2000]


def _zip(random: Random, format: str) -> bytes:
    files = MLRUNS if format == "mlflow" else FILES[format]
    names = {
        name
        if random.random() < 0.7
        else random.choice(ZIP_NAMES) + random.choice(("", name)): content
        for name, content in files.items()
    }
    content = zipped(names)
    return mutation.changed_bytes(random, content) if random.random() < 0.4 else content


def _changed_text(random: Random, content: bytes) -> bytes:
    return mutation.changed_bytes(random, content) if random.random() < 0.3 else content


TARGET = Target(SEEDS, make, open_target)
