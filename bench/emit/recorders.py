"""Stillroom's event log and other trackers, each as two functions: start logging, count records.

Every tracker gets its lightest local settings: no network, console output or system statistics.
MLflow's asynchronous mode is what `mlflow.log_metrics(…, synchronous=False)` does.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Log = Callable[[int, Mapping[str, float]], Any]
Finish = Callable[[], Any]


def stillroom(folder: Path) -> tuple[Log, Finish]:
    from trainer.events import EventLog

    log = EventLog(folder / "events", 1)
    return lambda step, values: log.emit("metrics", step=step, values=values), log.close


def stillroom_count(folder: Path) -> int:
    from trainer.events import read

    return sum(1 for _ in read(folder / "events"))


def trackio(folder: Path) -> tuple[Log, Finish]:
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    trackio.init(project="bench", name="run", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    return lambda step, values: trackio.log(dict(values), step=step), trackio.finish


def trackio_count(folder: Path) -> int:
    os.environ["TRACKIO_DIR"] = str(folder)
    from trackio.sqlite_storage import SQLiteStorage

    return len(SQLiteStorage.get_logs("bench", "run"))


def wandb(folder: Path) -> tuple[Log, Finish]:
    import wandb

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
    run = wandb.init(project="bench", dir=folder, mode="offline", settings=settings)
    return lambda step, values: run.log(dict(values), step=step), run.finish


def wandb_count(folder: Path) -> int:
    from wandb.proto import wandb_internal_pb2

    [file] = folder.glob("wandb/offline-run-*/*.wandb")
    records = (wandb_internal_pb2.Record.FromString(data) for data in _blocks(file.read_bytes()))
    return sum(1 for record in records if record.WhichOneof("record_type") == "history")


def mlflow(folder: Path, synchronous: bool = True) -> tuple[Log, Finish]:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.start_run(run_name="run")

    def finish() -> None:
        mlflow.flush_async_logging()
        mlflow.end_run()

    return lambda step, values: mlflow.log_metrics(
        dict(values), step=step, synchronous=synchronous
    ), finish


def mlflow_async(folder: Path) -> tuple[Log, Finish]:
    return mlflow(folder, synchronous=False)


def mlflow_count(folder: Path) -> int:
    import sqlite3

    with sqlite3.connect(folder / "mlflow.db") as database:
        return int(database.execute("SELECT count(DISTINCT step) FROM metrics").fetchone()[0])


RECORDERS: dict[str, tuple[Callable[[Path], tuple[Log, Finish]], Callable[[Path], int]]] = {
    "Stillroom": (stillroom, stillroom_count),
    "Trackio, local": (trackio, trackio_count),
    "W&B, offline": (wandb, wandb_count),
    "MLflow, SQLite": (mlflow, mlflow_count),
    "MLflow, SQLite, asynchronous": (mlflow_async, mlflow_count),
}


def _blocks(data: bytes) -> Iterator[bytes]:
    """The complete records of a log in LevelDB's format, as W&B writes it.

    The file consists of blocks of 32 KiB; each fragment of a record has a header of 7 bytes.
    """
    offset, record = 7, b""
    while offset + 7 <= len(data):
        # Too little is left of this block for a header; such a tail is padding.
        if 2**15 - offset % 2**15 < 7:
            offset += 2**15 - offset % 2**15
            continue
        _, length, kind = struct.unpack_from("<IHB", data, offset)
        fragment = data[offset + 7 : offset + 7 + length]
        # Kinds: 1 a whole record, 2 its first fragment, 3 a middle one, 4 the last. 0 has never
        # been written, and a short fragment was cut off by the kill.
        if kind == 0 or len(fragment) < length:
            return
        offset += 7 + length
        record = fragment if kind in (1, 2) else record + fragment
        if kind in (1, 4):
            yield record
