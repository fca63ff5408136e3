"""The event log: numbered, append-only, readable while it grows, and silent towards training when the disk is full."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.engine.events import EventLog, Reader, plain, read, segments

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_events_are_numbered_from_one_and_carry_both_clocks(tmp_path: Path) -> None:
    log = EventLog(tmp_path, attempt=3)
    log.emit("log", level="info", message="one")
    log.emit("metrics", step=1, values={"loss": 0.5})
    log.close()
    events = list(read(tmp_path))
    assert [event["seq"] for event in events] == [1, 2]
    assert all(event["v"] == 1 and event["attempt"] == 3 and event["wall_time"] > 0 and event["monotonic"] > 0 for event in events)
    assert events[1]["values"] == {"loss": 0.5}


def test_an_event_is_on_disk_as_soon_as_emit_returns(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1)
    log.emit("log", level="info", message="kept though nobody closes the log")
    assert [event["message"] for event in read(tmp_path)] == ["kept though nobody closes the log"]
    log.close()


@given(json_like)
def test_every_value_becomes_strict_json(value: object) -> None:
    assert json.dumps(plain(value), allow_nan=False)


def test_numbers_that_json_lacks_are_words(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1)
    log.emit("metrics", step=1, values={"loss": math.nan, "high": math.inf, "low": -math.inf, "text": "a lone \ud800 surrogate"})
    log.close()
    assert next(read(tmp_path))["values"] == {"loss": "NaN", "high": "Infinity", "low": "-Infinity", "text": "a lone ? surrogate"}


def test_a_reopened_log_continues_its_numbers_in_a_new_segment(tmp_path: Path) -> None:
    for message in ("first", "second"):
        log = EventLog(tmp_path, 1)
        log.emit("log", level="info", message=message)
        log.close()
    assert [event["seq"] for event in read(tmp_path)] == [1, 2]
    assert len(segments(tmp_path)) == 2


def test_segments_rotate_and_read_as_one(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1, segment_bytes=300)
    for number in range(20):
        log.emit("log", level="info", message=f"message {number}")
    log.close()
    assert len(segments(tmp_path)) > 3
    assert [event["message"] for event in read(tmp_path)] == [f"message {number}" for number in range(20)]
    assert [event["seq"] for event in read(tmp_path, since_seq=17)] == [18, 19, 20]


def test_a_reader_yields_each_event_once_while_the_log_grows(tmp_path: Path) -> None:
    log, reader = EventLog(tmp_path, 1, segment_bytes=200), Reader(tmp_path)
    seen = []
    for number in range(12):
        log.emit("log", level="info", message=str(number))
        seen += [event["seq"] for event in reader.poll()]
    log.close()
    assert seen == list(range(1, 13))
    assert list(reader.poll()) == []


def test_a_torn_last_line_is_left_alone_until_it_is_whole(tmp_path: Path) -> None:
    log, reader = EventLog(tmp_path, 1), Reader(tmp_path)
    log.emit("log", level="info", message="whole")
    log.close()
    line = b'{"v":1,"attempt":1,"seq":2,"type":"log"}\n'
    with segments(tmp_path)[0].open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert [event["seq"] for event in reader.poll()] == [1]
        torn = reader.unfinished
        file.write(line[20:])
    assert [event["seq"] for event in reader.poll()] == [2]
    assert (torn, reader.unfinished) == (True, False)
    assert reader.damage == []


def test_a_line_that_a_crash_tore_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1)
    log.emit("log", level="info", message="before the crash")
    log.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b'{"v":1,"att')
    again = EventLog(tmp_path, 1)
    again.emit("log", level="info", message="after the crash")
    again.close()
    reader = Reader(tmp_path)
    assert [event["message"] for event in reader.poll()] == ["before the crash", "after the crash"]
    assert len(reader.damage) == 1
    assert "middle of a line" in reader.damage[0]


def test_an_unreadable_line_is_reported_and_skipped(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1)
    log.emit("log", level="info", message="good")
    log.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b"\x00\x00\x00\n" + b'{"v":1,"attempt":1,"seq":2,"type":"log"}\n')
    reader = Reader(tmp_path)
    assert [event["seq"] for event in reader.poll()] == [1, 2]
    assert "unreadable line after event 1" in reader.damage[0]


FULL_DISK = """
import resource, sys
from pathlib import Path
from trainer.engine.events import EventLog
log = EventLog(Path(sys.argv[1]), 1)
log.emit("log", level="info", message="there is room")
resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
for number in range(10):
    log.emit("log", level="info", message=f"waiting {number}")
print(log.trouble)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.emit("log", level="info", message="room again")
print(repr(log.trouble), log.dropped)
log.close()
"""


def test_a_full_disk_makes_events_wait_and_loses_none(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    trouble, after = done.stdout.splitlines()
    assert "cannot be written" in trouble
    assert after == "'' 0"
    messages = [event["message"] for event in read(tmp_path)]
    assert messages == ["there is room", *(f"waiting {number}" for number in range(10)), "room again"]


def test_emit_never_raises_even_when_the_file_is_gone(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1, waiting_bytes=500)
    os.close(log._file)
    for number in range(20):
        log.emit("log", level="info", message=str(number), odd=object())
    assert "cannot be written" in log.trouble
    assert log.dropped > 0
    log._file = os.open(segments(tmp_path)[0], os.O_WRONLY | os.O_APPEND)
    log.close()


def test_reading_a_log_needs_no_torch() -> None:
    script = "import sys, trainer.engine.events; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("since", [0, 1, 5, 9])
def test_reading_after_a_number_gives_exactly_the_later_events(tmp_path: Path, since: int) -> None:
    log = EventLog(tmp_path, 1, segment_bytes=150)
    for number in range(9):
        log.emit("log", level="info", message=str(number))
    log.close()
    assert [event["seq"] for event in read(tmp_path, since)] == list(range(since + 1, 10))
