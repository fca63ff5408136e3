"""Event logs and folders of runs: torn lines, hostile values, files that events name."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import mutation, world
from tests.fuzz.inputs import Input, Read, Target
from tests.webapp.recorded import SPEC, Events, Recorder
from trainer.events import LogReader, last_seq
from trainer.events.event_types import EVENT_TYPES
from webapp.ingest.run_folder import NoRunFolder, import_folder
from webapp.runs.models import Run

SEGMENT = "attempts/1/events/000001.jsonl"
# Some events are kept that are much shorter than a whole run, so that most inputs read quickly.
SEED_EVENTS = 12
TIME_FIELDS = ("wall_time", "monotonic")
TIMES = (0, -1, 1.76e9, 1e11, -1e11, 1e18, 2**62, 253402300799, 253402300800, 1e308, "NaN", None)


class Written(Recorder):
    """Keeps the events that a recorder sends, and the files that it writes beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.attempt, self.seq = folder, 1.76e9, 1, 0
        self.events: Events = []

    def send(self, events: Events) -> None:
        self.events += [self._numbered(event) for event in events]


def _recorded() -> tuple[Events, dict[str, bytes]]:
    with tempfile.TemporaryDirectory() as name:
        recorder = Written(Path(name))
        recorder.begin()
        recorder.train(1, 10)
        recorder.checkpoint(10)
        files = {
            str(path.relative_to(name)): path.read_bytes()
            for path in sorted(Path(name).rglob("*"))
            if path.is_file()
        }
        return recorder.events, files


EVENTS, FILES = _recorded()
EVENTS += [
    {
        "type": "calibration",
        "step": 1,
        "role": "evaluation",
        "readout": "answer",
        "n": 8,
        "bins": [],
    },
    {"type": "rewind", "step": 5},
    {"type": "checkpoint_removed", "step": 10, "folder": "checkpoints/step-00000010"},
    {"type": "end", "outcome": "completed", "reason": "All steps are done.", "remedy": ""},
    *({"type": type, "step": 1} for type in EVENT_TYPES),
]


def lines(events: list[Any]) -> bytes:
    """Events as a log, numbered anew."""
    numbered = [
        {"v": 1, "attempt": 1, "wall_time": 1.76e9, "monotonic": 1.0, **event, "seq": number}
        for number, event in enumerate(events, 1)
    ]
    return b"".join(json.dumps(event).encode() + b"\n" for event in numbered)


SEEDS: list[Input] = [
    {SEGMENT: lines(EVENTS[:SEED_EVENTS])},
    {SEGMENT: lines(EVENTS[-40:]), "spec.json": json.dumps(SPEC).encode()},
    {SEGMENT: lines(EVENTS), **{f"attempts/1/{name}": part for name, part in FILES.items()}},
    {SEGMENT: lines(EVENTS[:3]), "attempts/2/events/000001.jsonl": lines(EVENTS[3:6])},
    {SEGMENT: lines(EVENTS[:3]) + b'{"v": 1', "attempts/1/events/000002.jsonl": lines(EVENTS[:4])},
]


@contextmanager
def open_target(folder: Path) -> Iterator[Read]:
    with world.opened(folder) as opened:

        def read(input: Input, files: Path) -> str:
            for name, content in input.items():
                path = files / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            damage = _read_log(files / "attempts/1/events")
            with world.undone():
                try:
                    run = import_folder(files, opened.team, opened.editor)
                except NoRunFolder as refusal:
                    return str(refusal)
                opened.get_some_pages(run, input)
                return f"{damage} {_state(run)}"

        yield read


def _read_log(folder: Path) -> str:
    """Read a log twice, in parts and from its end; what is read must be the same."""
    if not folder.is_dir():
        return ""
    reader = LogReader(folder)
    seqs = [event["seq"] for event in reader.poll()]
    in_parts = LogReader(folder)
    parts: list[int] = []
    while batch := in_parts.read_batch(2, 1000):
        parts += [event["seq"] for event in batch]
    assert parts == seqs and seqs == sorted(set(seqs))
    last_seq(folder)
    assert all(len(line) < 1000 for line in reader.damage)
    return " ".join(reader.damage)[:300]


def _state(run: Run) -> str:
    warnings = run.events.filter(type="log", payload__level="warning")
    first = [str(event.payload.get("message")) for event in warnings.order_by("seq")[:3]]
    return f"{run.state} {run.reason[:500]} {first}"


def make(random: Random, known: list[Input]) -> Input:
    if random.random() < 0.3:
        input = dict(random.choice(known))
        name = random.choice(list(input))
        others = [part for each in random.choices(known, k=3) for part in each.values()]
        input[name] = mutation.changed_bytes(random, input[name], others)
        return input
    events = random.choices(EVENTS, k=random.choice((1, 2, 5, 20)))
    changed = [
        mutation.changed_json(random, event) if random.random() < 0.7 else event for event in events
    ]
    input = {SEGMENT: b"".join(_line(random, n, event) for n, event in enumerate(changed, 1))}
    if random.random() < 0.3:
        input |= {f"attempts/1/{name}": part for name, part in FILES.items()}
        input |= _manifest(random)
    if random.random() < 0.2:
        definition = mutation.changed_json(random, SPEC)
        input["spec.json"] = mutation.encoded(random, definition)
    if random.random() < 0.2:
        number = random.choice(("2", "0", "999999999", "9999999999", "٣", "1e3", "001"))
        input[f"attempts/{number}/events/000001.jsonl"] = lines(random.choices(EVENTS, k=3))
    return input


def _line(random: Random, number: int, event: Any) -> bytes:
    """An event under its number, or rarely under another one or none."""
    if isinstance(event, dict) and random.random() < 0.97:
        seq = mutation.value(random, 1) if random.random() < 0.1 else number
        times = (random.choice(TIMES) if random.random() < 0.1 else 1.76e9 for _ in range(2))
        head = {"v": 1, "attempt": 1, "seq": seq, **dict(zip(TIME_FIELDS, times, strict=True))}
        event = {**event, **head}
    return mutation.encoded(random, event).replace(b"\n", b"") + b"\n"


def _manifest(random: Random) -> dict[str, bytes]:
    """The manifest of the checkpoint with some values changed, its hashes those of the files."""
    name = next(name for name in FILES if name.endswith("manifest.json"))
    document = mutation.changed_json(random, json.loads(FILES[name]), times=2)
    if random.random() < 0.3:
        secret = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
        document = {"step": 10, "files": {random.choice(mutation.INTERESTING_TEXTS): secret}}
    return {f"attempts/1/{name}": mutation.encoded(random, document)}


TARGET = Target(SEEDS, make, open_target)
