"""The event log: numbered, append-only, readable while it grows, and silent towards training when
the disk is full.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.events import EventLog, LogReader, encode_line, read, segments, to_json_value

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_events_are_numbered_from_one_and_have_both_clocks(tmp_path: Path) -> None:
    log = EventLog(tmp_path, attempt=3)
    log.emit("log", level="info", message="one")
    log.emit("metrics", step=1, values={"loss": 0.5})
    log.close()
    events = list(read(tmp_path))
    assert [event["seq"] for event in events] == [1, 2]
    assert all(
        event["v"] == 1
        and event["attempt"] == 3
        and event["wall_time"] > 0
        and event["monotonic"] > 0
        for event in events
    )
    assert events[1]["values"] == {"loss": 0.5}


def test_an_event_is_on_disk_as_soon_as_emit_returns(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1)
    log.emit("log", level="info", message="kept though nobody closes the log")
    assert [event["message"] for event in read(tmp_path)] == ["kept though nobody closes the log"]
    log.close()


@given(json_like)
def test_every_value_becomes_strict_json(value: object) -> None:
    assert json.dumps(to_json_value(value), allow_nan=False)


@given(st.dictionaries(st.text(), json_like))
def test_both_encoders_give_the_same_line(fields: dict[str, Any]) -> None:
    line = encode_line({"type": "x", "fields": fields})
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line)["fields"] == json.loads(json.dumps(to_json_value(fields)))


class Mute:
    def __str__(self) -> str:
        raise ValueError("I shall not say what I am")


def endless() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["inner"] = inner
    return inner


@pytest.mark.parametrize("value", [Mute(), {"key": [Mute()]}, endless(), {Mute(): 1}])
def test_an_event_that_cannot_be_encoded_loses_only_its_fields(
    tmp_path: Path, value: object
) -> None:
    log = EventLog(tmp_path, 1)
    log.emit("metrics", step=1, values=value)
    log.log("info", "and on")
    log.close()
    first, second = read(tmp_path)
    assert (first["seq"], first["type"], "unwritable" in first) == (1, "metrics", True)
    assert second["message"] == "and on"


def test_nan_and_infinities_become_strings(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1)
    log.emit(
        "metrics",
        step=1,
        values={
            "loss": math.nan,
            "high": math.inf,
            "low": -math.inf,
            "text": "a lone \ud800 surrogate",
        },
    )
    log.close()
    assert next(read(tmp_path))["values"] == {
        "loss": "NaN",
        "high": "Infinity",
        "low": "-Infinity",
        "text": "a lone ? surrogate",
    }


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
    assert [event["message"] for event in read(tmp_path)] == [
        f"message {number}" for number in range(20)
    ]
    assert [event["seq"] for event in read(tmp_path, since_seq=17)] == [18, 19, 20]


def test_a_reader_yields_each_event_once_while_the_log_grows(tmp_path: Path) -> None:
    log, reader = EventLog(tmp_path, 1, segment_bytes=200), LogReader(tmp_path)
    events = []
    for number in range(12):
        log.emit("log", level="info", message=str(number))
        events += [event["seq"] for event in reader.poll()]
    log.close()
    assert events == list(range(1, 13))
    assert list(reader.poll()) == []


def test_a_backlog_is_read_in_batches_of_bounded_number_and_size(tmp_path: Path) -> None:
    log, reader = EventLog(tmp_path, 1, segment_bytes=1500), LogReader(tmp_path)
    for number in range(20):
        log.log("info", str(number) + (400 * "x" if number >= 10 else ""))
    log.close()
    batches = []
    while batch := reader.read_batch(4, 1000):
        batches.append([event["seq"] for event in batch])
        assert reader.has_more
    assert batches == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10, 11, 12],
        [13, 14],
        [15, 16],
        [17, 18],
        [19, 20],
    ]
    assert not reader.has_more


def test_an_incomplete_last_line_is_read_once_it_is_complete(tmp_path: Path) -> None:
    log, reader = EventLog(tmp_path, 1), LogReader(tmp_path)
    log.emit("log", level="info", message="whole")
    log.close()
    line = b'{"v":1,"attempt":1,"seq":2,"type":"log"}\n'
    with segments(tmp_path)[0].open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert [event["seq"] for event in reader.poll()] == [1]
        torn = reader.has_partial_line
        file.write(line[20:])
    assert [event["seq"] for event in reader.poll()] == [2]
    assert (torn, reader.has_partial_line) == (True, False)
    assert reader.damage == []


def test_a_line_that_a_crash_cut_is_reported_and_later_events_are_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1)
    log.emit("log", level="info", message="before the crash")
    log.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b'{"v":1,"att')
    reopened = EventLog(tmp_path, 1)
    reopened.emit("log", level="info", message="after the crash")
    reopened.close()
    reader = LogReader(tmp_path)
    assert [event["message"] for event in reader.poll()] == ["before the crash", "after the crash"]
    assert len(reader.damage) == 1
    assert "middle of a line" in reader.damage[0]


def test_an_unreadable_line_is_reported_and_skipped(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1)
    log.emit("log", level="info", message="good")
    log.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b"\x00\x00\x00\n" + b'{"v":1,"attempt":1,"seq":2,"type":"log"}\n')
    reader = LogReader(tmp_path)
    assert [event["seq"] for event in reader.poll()] == [1, 2]
    assert "unreadable line after event 1" in reader.damage[0]


FULL_DISK = """
import resource, sys
from pathlib import Path
from trainer.events import EventLog
log = EventLog(Path(sys.argv[1]), 1)
log.emit("log", level="info", message="there is room")
resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
for number in range(10):
    log.emit("log", level="info", message=f"waiting {number}")
print(log.failure)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.emit("log", level="info", message="room again")
print(repr(log.failure), log.dropped)
log.close()
"""


def test_a_full_disk_makes_events_wait_and_loses_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    failure, after = done.stdout.splitlines()
    assert "cannot be written" in failure
    assert after == "'' 0"
    messages = [event["message"] for event in read(tmp_path)]
    assert messages == [
        "there is room",
        *(f"waiting {number}" for number in range(10)),
        "room again",
    ]


REALLY_FULL_DISK = """
import subprocess, sys
from pathlib import Path
from trainer.events import EventLog
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
log = EventLog(disk / "events", 1)
log.log("info", "there is room")
with (disk / "somebody else's").open("wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
for number in range(100):
    log.log("info", f"on a full disk {number}" + 100 * "x")
print(log.failure)
log.emit("end", outcome="failed")
log.close()
print(log.dropped, sum(1 for line in (disk / "events" / "000001.jsonl").open()))
"""


def may_mount() -> bool:
    return (
        os.geteuid() == 0
        and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not may_mount(), reason="a small disk of its own needs the right to mount")
def test_the_last_events_of_a_run_are_written_although_the_disk_stays_full(tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", REALLY_FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    failure, counts = done.stdout.splitlines()
    assert failure == "the event log cannot be written: the disk is full: No space left on device"
    assert counts == "0 102", "nothing was dropped, and every line is there"


KILLED = """
import os, signal, sys, time
from pathlib import Path
from trainer.events import EventLog
log = EventLog(Path(sys.argv[1]), 1)
for number in range(2000):
    log.emit("metrics", step=number, values={"loss": number / 7})
    time.sleep(0.001)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_emitted_event_is_lost_with_the_process(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [event["values"]["loss"] for event in read(tmp_path)] == [
        number / 7 for number in range(2000)
    ]


def test_emit_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sync hangs, also that of a full segment; events are written all the same."""
    fsync_called, answered = threading.Event(), threading.Event()

    def hangs(file: int) -> None:
        fsync_called.set()
        answered.wait()

    monkeypatch.setattr("trainer.events.log.SYNC_SECONDS", 0.01)
    monkeypatch.setattr(os, "fsync", hangs)
    log = EventLog(tmp_path, 1, segment_bytes=300)
    log.log("info", "0")
    fsync_called.wait()
    for number in range(1, 20):
        log.log("info", str(number))
    assert [event["message"] for event in read(tmp_path)] == [str(number) for number in range(20)]
    answered.set()
    log.close()


def test_a_failed_sync_is_a_permanent_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(file: int) -> None:
        monkeypatch.undo()
        raise OSError(5, "Input/output error")

    log = EventLog(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", fails)
    log.log("info", "lost on the way")
    log._sync()
    log.log("info", "later")
    log._sync()
    assert log.failure == "the event log cannot be synced: Input/output error"
    log.close()


def test_emit_never_raises_even_when_the_file_is_gone(tmp_path: Path) -> None:
    log = EventLog(tmp_path, 1, waiting_bytes=500)
    os.close(log._file)
    for number in range(20):
        log.emit("log", level="info", message=str(number), odd=object())
    assert "cannot be written" in log.failure
    assert log.dropped > 0
    log._file = os.open(segments(tmp_path)[0], os.O_WRONLY | os.O_APPEND)
    log.close()


def test_reading_a_log_needs_no_torch() -> None:
    script = (
        "import sys, trainer.events; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("since", [0, 1, 5, 9])
def test_reading_after_a_number_gives_exactly_the_later_events(tmp_path: Path, since: int) -> None:
    log = EventLog(tmp_path, 1, segment_bytes=150)
    for number in range(9):
        log.emit("log", level="info", message=str(number))
    log.close()
    assert [event["seq"] for event in read(tmp_path, since)] == list(range(since + 1, 10))
