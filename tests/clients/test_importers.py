"""Runs come from other trackers' files: once however often they are read, further where the files
grow, and refused in words.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients.conftest import Script
from tests.clients.test_trackio import curve
from webapp.access.models import Team
from webapp.clients import importers
from webapp.clients import record as recording
from webapp.clients.importers import UnreadableFile, import_runs
from webapp.clients.importers.protobuf import fields
from webapp.clients.importers.tensorboard import masked_crc
from webapp.clients.importers.wandb_offline import BLOCK, HEADER
from webapp.clients.models import Receipt
from webapp.runs.models import Run, State
from webapp.series import series_store

pytestmark = pytest.mark.django_db
FILES = Path(__file__).parent / "files"


def values(run: Run) -> list[tuple[str, int, float]]:
    return sorted(
        (row[2], row[1], row[3])
        for row in series_store.export_rows(run, abandoned=True)
        if not math.isnan(row[3])
    )


def test_tensorboards_folders_become_runs_and_grow(still: Team, tmp_path: Path) -> None:
    """Written by a stock writer: scalars as PyTorch and as TensorFlow 2 write them, beside text and
    a histogram.
    """
    shutil.copytree(FILES / "tensorboard", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "train" / "events.out.tfevents.1795400000.machine"
    content = file.read_bytes()
    file.write_bytes(content[:1500])
    import_runs(tmp_path, "tensorboard", still, None, "p")
    some = len(values(Run.objects.get(name="train")))
    file.write_bytes(content)
    for _ in range(2):
        import_runs(tmp_path, "tensorboard", still, None, "p")

    run, evaluation_run = Run.objects.order_by("name")
    assert (run.name, evaluation_run.name, run.source, run.origin.project.name) == (
        "train",
        "train/eval",
        Run.Source.IMPORTED,
        "p",
    )
    assert (run.state, run.reason) == (State.STOPPED, "The files do not say how the run ended.")
    losses = curve(run, "loss")
    assert 0 < some < len(values(run)) and [losses[step] for step in (0, 1, 3)] == [1.0, 0.5, 0.25]
    assert math.isnan(curve(run, "bad")[20]) and curve(run, "lr/group0")[10] == 1.0
    assert (curve(run, "tf2"), curve(run, "tf2b")) == ({7: 2.5}, {7: 3.5})
    assert len(values(run)) == 20 + 20 + 2
    # A histogram and a text.
    assert run.origin.not_kept == ["h", "note/text_summary"]


def test_mlflows_folder_becomes_runs_and_grows(still: Team, script: Script, tmp_path: Path) -> None:
    script("mlflow_folder.py", "", "", MLFLOW_ALLOW_FILE_STORE="true")
    for _ in range(2):
        import_runs(tmp_path / "mlruns", "mlflow", still, None, "p")
    first, second = Run.objects.order_by("name")
    assert (first.name, first.origin.project.name, first.state, first.origin.params) == (
        "first",
        "sums",
        State.COMPLETED,
        {"lr": "0.1"},
    )
    assert len(values(first)) == 40 and math.isnan(curve(second, "loss")[1])
    script("mlflow_folder.py", "", "", first.origin.key, MLFLOW_ALLOW_FILE_STORE="true")
    import_runs(tmp_path / "mlruns", "mlflow", still, None, "p")
    assert len(values(first)) == 41 and curve(first, "loss")[20] == 0.01


def test_exported_tables_become_runs_and_grow(still: Team, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    rows = [
        {
            "_step": step,
            "_timestamp": 1.7e9 + step,
            "_runtime": step,
            "loss": 1 / (step + 1),
            "note": "x",
        }
        for step in range(10)
    ]
    history.write_text(
        "".join(json.dumps(row) + "\n" for row in rows[:6]) + json.dumps(rows[6])[:10]
    )
    import_runs(tmp_path, "wandb", still, None, "p")
    assert len(values(Run.objects.get())) == 6
    history.write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_runs(tmp_path, "wandb", still, None, "p")
    assert values(Run.objects.get()) == [("loss", step, 1 / (step + 1)) for step in range(10)]


def test_csv_of_wandb_and_of_mlflow(still: Team, tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text("_step,loss,note\n0,1.5,a\n1,,b\n2,NaN,c\n5,0.5,\n")
    [run] = import_runs(tmp_path, "wandb", still, None, "p")
    assert values(run) == [("loss", 0, 1.5), ("loss", 5, 0.5)] and math.isnan(curve(run, "loss")[2])
    (tmp_path / "run.csv").write_text(
        "run_id,key,value,step,timestamp\nr1,loss,1,0,1000\nr1,loss,2,1,2000\nr2,kl,3,1,2000\n"
    )
    runs = import_runs(tmp_path, "mlflow", still, None, "p")
    assert [(run.name, values(run)) for run in runs] == [
        ("r1", [("loss", 0, 1.0), ("loss", 1, 2.0)]),
        ("r2", [("kl", 1, 3.0)]),
    ]


def message(number: int, value: bytes | int) -> bytes:
    """A field of a message."""
    return (
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
    )


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def scalar(tag: str, value: float) -> bytes:
    """A summary of TensorBoard with one scalar."""
    return message(5, message(1, message(1, tag.encode()) + b"\x15" + struct.pack("<f", value)))


def fixed(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def recorded(*events: bytes) -> bytes:
    """A file of TensorBoard with these events."""
    return b"".join(
        (length := struct.pack("<Q", len(event)))
        + struct.pack("<I", masked_crc(length))
        + event
        + bytes(4)
        for event in events
    )


def offline(rows: Sequence[dict[str, Any]]) -> bytes:
    """A file as W&B writes it offline."""
    run = message(17, message(1, b"abc123") + message(3, b"sums"))
    return framed([run, *(message(2, items(row)) for row in rows)])


def items(values: dict[str, Any]) -> bytes:
    return b"".join(
        message(1, message(2, k.encode()) + message(16, json.dumps(v).encode()))
        for k, v in values.items()
    )


def framed(records: Sequence[bytes]) -> bytes:
    """A file of W&B with these records, cut at the ends of blocks."""
    content = HEADER
    for record in records:
        kind = 0
        while kind not in (1, 4):
            room = BLOCK - len(content) % BLOCK
            if room < 7:
                content += bytes(room)
                room = BLOCK
            piece, record = record[: room - 7], record[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[
                kind == 0, not record
            ]
            content += (
                struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            )
    return content


SOUND = {
    "tensorboard": (
        "tensorboard",
        "a.tfevents.1",
        recorded(*(fixed(1, 1.7e9) + message(2, step) + scalar("loss", step) for step in range(5))),
    ),
    "offline": (
        "wandb",
        "run.wandb",
        offline(
            [
                {"_step": step, "_timestamp": 1.7e9, "loss": step, "deep": {"a": [1]}}
                for step in range(3)
            ]
        ),
    ),
    "jsonl": (
        "wandb",
        "run.jsonl",
        b'{"_step": 0, "loss": 1.5}\n{"_step": 1, "loss": NaN, "x": "y"}\n',
    ),
    "csv": ("wandb", "run.csv", b'_step,_timestamp,loss,note\n0,1.7e9,1,"a\nb"\n1,1.7e9,2,c'),
    "histories": (
        "mlflow",
        "run.csv",
        b"run_id,key,value,step,timestamp\nr1,loss,1,0,1000\nr2,loss,2,1,2000\n",
    ),
}


def test_an_offline_file_of_wandb_becomes_a_run_and_grows(still: Team, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"_step": step, "_timestamp": 1.7e9, "loss": step / 2, "long": "x" * 9000}
        for step in range(12)
    ]
    content = offline(rows)
    for length in (len(content) // 2, len(content), len(content)):
        (tmp_path / "run.wandb").write_bytes(content[:length])
        [run] = import_runs(tmp_path, "wandb", still, None, "p")
    assert (run.name, run.origin.project.name) == ("abc123", "sums")
    assert values(run) == [("loss", step, step / 2) for step in range(12)]


def test_an_import_that_was_broken_off_goes_on_where_it_stopped(
    still: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed with its place is not read again, and nothing is left out."""
    rows = "".join(f"{step},{step / 4}\n" for step in range(100))
    (tmp_path / "run.csv").write_text("_step,loss\n" + rows)
    monkeypatch.setattr(importers, "AT_ONCE", 10)
    calls = iter(range(100))

    def breaks_off(batches_by_run: Any) -> Any:
        if next(calls) == 6:
            raise KeyboardInterrupt
        return recording.record(batches_by_run)

    with monkeypatch.context() as patch:
        patch.setattr("webapp.clients.importers.record", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            import_runs(tmp_path, "wandb", still, None, "p")
    assert len(values(Run.objects.get())) == 50
    reports: list[str] = []
    monkeypatch.setattr(importers, "TELL_SECONDS", 0.0)
    import_runs(tmp_path, "wandb", still, None, "p", reports.append)
    assert values(Run.objects.get()) == [("loss", step, step / 4) for step in range(100)]
    assert "50 values so far, at step 99" in reports[-1] and not Receipt.objects.exists()


@pytest.mark.parametrize(
    ("format", "name", "content", "error"),
    [
        (
            "tensorboard",
            "events.out.tfevents.1",
            recorded(message(2, 2**63) + scalar("a", 1.0)),
            "the step '-9223372036854775808', which is no",
        ),
        (
            "tensorboard",
            "events.out.tfevents.1",
            recorded(fixed(1, math.nan) + scalar("a", 1.0)),
            "the time nan, which is no moment",
        ),
        (
            "tensorboard",
            "events.out.tfevents.1",
            recorded(b"\xff" * 12),
            "the record at byte 0 cannot be read: a number breaks off",
        ),
        ("tensorboard", "events.out.tfevents.1", b"", "Nothing there looks like"),
        ("wandb", "run.csv", b"", "is empty"),
        ("wandb", "run.csv", b"_step,loss\n1.5,1\n", "the step 1.5, which is no whole number"),
        (
            "wandb",
            "run.csv",
            b"_step,_timestamp,loss\n1,1e300,1\n",
            "the time 1e[+]300, which is no moment",
        ),
        (
            "wandb",
            "run.csv",
            b'_step,loss\n1,"' + b"x" * 5_000_000 + b'"\n',
            "is longer than 4 MiB",
        ),
        ("wandb", "run.jsonl", b'{"_step": "x"}\n', "the step 'x'"),
        ("mlflow", "run.csv", b"key,value,step,timestamp\nloss,1,1e30,1\n", "the step 1e[+]30"),
        (
            "tensorboard",
            "events.out.tfevents.1",
            b"x" * 100,
            "at byte 0 there is no record of TensorBoard",
        ),
        ("wandb", "run.wandb", b"x" * 100, "does not begin like a file of W&B"),
        ("wandb", "run.wandb", offline([{"loss": 1}])[:-3] + b"xyz", "at byte"),
        ("wandb", "run.jsonl", b'{"_step": 1}\nnothing\n', "the line at byte 13 is not JSON"),
        ("wandb", "run.jsonl", b"[1]\n", "not an object"),
        ("wandb", "run.csv", b"a,b\n1,2,3\n", "the row at byte 4 has 3 values for 2 columns"),
        ("wandb", "run.csv", b"\xff\xfe\n", "not UTF-8"),
        ("mlflow", "run.csv", b"key,value\nloss,1\n", "has no column step, timestamp"),
        (
            "mlflow",
            "run.csv",
            b"key,value,step,timestamp\nloss,1,0,1\nloss,x,1,1\n",
            "the row at byte 36 lacks a number or a name",
        ),
        (
            "wandb",
            "run.csv",
            b"question,answer\n1+1,2\n",
            "has no _step.*; it has question, answer",
        ),
        ("wandb", "run.csv", b"_step,loss\n0,1\n,2\n", "the row at byte 15 has no _step"),
        ("wandb", "run.jsonl", b'{"loss": 1}\n', "at byte 0 has no _step.*it has loss"),
        ("wandb", "run.csv", b"key,value,step,timestamp\nloss,1,0,1\n", "has no _step"),
        (
            "wandb",
            "run.csv",
            b'"Relative Time (Process)","a - loss"\n0.5,1\n',
            "has no steps: its first column is 'Relative Time [(]Process[)]'",
        ),
        ("wandb", "run.csv", b"epoch,a - loss\n0.5,1\n", "the step 0.5, which is no whole number"),
        ("wandb", "run.jsonl", b"", "run.jsonl is empty"),
        ("mlflow", "anything.txt", b"x", "Nothing there looks like"),
    ],
)
def test_a_bad_file_is_refused_in_words_with_the_place(
    still: Team, tmp_path: Path, format: str, name: str, content: bytes, error: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=error):
        import_runs(tmp_path, format, still, None, "p")


def test_values_before_a_damaged_row_are_kept(still: Team, tmp_path: Path) -> None:
    """Also where the values before it look as if the run was resumed."""
    (tmp_path / "run.csv").write_text("_step,loss\n0,1\n1,2\n2,3\n1,2.5\nx,5\n")
    with pytest.raises(UnreadableFile, match="the step 'x'"):
        import_runs(tmp_path, "wandb", still, None, "p")
    assert [value for *_, value in values(Run.objects.get())] == [1, 2, 2.5, 3]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=60,
)
@given(
    kind=st.sampled_from(["tensorboard", "offline", "jsonl", "csv", "histories"]), data=st.data()
)
def test_a_damaged_file_is_read_as_far_as_it_goes_or_refused_in_words(
    still: Team, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    format, name, content = SOUND[kind]
    offset = data.draw(st.integers(0, len(content)))
    damaged = (
        content[:offset]
        + data.draw(st.binary(max_size=6))
        + content[data.draw(st.integers(offset, len(content))) :]
    )
    (tmp_path / "here").mkdir(exist_ok=True)
    for file in (tmp_path / "here").iterdir():
        file.unlink()
    (tmp_path / "here" / name).write_bytes(damaged)
    with contextlib.suppress(UnreadableFile):
        import_runs(tmp_path / "here", format, still, None, "p")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_said_not_to_be(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(number >= 0 for number, _ in fields(data))


def zipped(**files: bytes) -> SimpleUploadedFile:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return SimpleUploadedFile("runs.zip", packed.getvalue())


def test_the_command_names_what_it_read_and_what_it_could_not(still: Team, tmp_path: Path) -> None:
    output = io.StringIO()
    call_command("import_metrics", FILES / "tensorboard", "--from", "tensorboard", stdout=output)
    assert "train/eval" in output.getvalue() and Run.objects.count() == 2
    with pytest.raises(CommandError, match="Nothing there looks like"):
        call_command("import_metrics", tmp_path, "--from", "mlflow")
