"""An imported run that was resumed shows the live branch, as one that was logged here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients.test_imported_files import events, wandb_file
from tests.clients.test_importers import fixed, message, offline, recorded, scalar, values
from tests.clients.test_trackio import curve
from webapp.access.models import Team
from webapp.clients.client_batch import LoggedValues
from webapp.clients.importers import import_runs, mlflow
from webapp.clients.importers.imported_run import ImportedLog
from webapp.clients.importers.restarts import MOST_RESTARTS, MOST_WAITING_VALUES, mark_restarts
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db

# A run that was killed after step 80, and resumed from its checkpoint of step 50.
FIRST = [(step, 1.0 + step) for step in range(0, 81, 10)]
SECOND = [(step, 2.0 + step) for step in range(50, 121, 10)]
LIVE = dict(FIRST[:5]) | dict(SECOND)


def rows(time: bool) -> list[dict[str, float]]:
    """The history, with an evaluation at every second step and a test after each attempt."""
    history = []
    for clock, (step, loss) in enumerate([*FIRST, *SECOND]):
        history.append({"_step": step, "loss": loss})
        if step % 20 == 0:
            history.append({"_step": step, "eval/loss": -loss})
        if step in (80, 120):
            history.append({"_step": 0, "test/loss": loss})
        for row in history[-3:]:
            row.setdefault("_timestamp", 1.7e9 + clock)
    return [{k: v for k, v in row.items() if time or k != "_timestamp"} for row in history]


def write_table(folder: Path, suffix: str, time: bool = True) -> None:
    names = ["_step", "_timestamp", "loss", "eval/loss", "test/loss"]
    if suffix == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in rows(time))
    else:
        lines = [",".join(str(row.get(name, "")) for name in names) for row in rows(time)]
        text = "\n".join([",".join(names), *lines, ""])
    (folder / f"run.{suffix}").write_text(text)


def write_mlflow(folder: Path) -> None:
    """Metrics of equal names sort before and after the one that goes back furthest."""
    metrics = folder / "mlruns" / "1" / "abc" / "metrics"
    (metrics / "eval").mkdir(parents=True, exist_ok=True)
    (metrics.parent / "meta.yaml").write_text("run_id: abc\nrun_name: run\nstatus: 3\n")
    for name, key in (("a_new", None), ("loss", "loss"), ("eval/loss", "eval/loss")):
        lines = [
            f"{int(row['_timestamp'] * 1000)} {row[key or 'loss']} {row['_step']}\n"
            for row in rows(True)
            if (key or "loss") in row and (key or row["loss"] in dict(SECOND).values())
        ]
        (metrics / name).write_text("".join(lines))


def write_histories(folder: Path) -> None:
    lines = [
        f"abc,{key},{row[key]},{row['_step']},{int(row['_timestamp'] * 1000)}\n"
        for key in ("eval/loss", "loss")
        for row in rows(True)
        if key in row
    ]
    (folder / "run.csv").write_text("run_id,key,value,step,timestamp\n" + "".join(lines))


def write_event_files(folder: Path) -> None:
    for number, points in enumerate((FIRST, SECOND)):
        (folder / f"events.out.tfevents.{number}").write_bytes(
            recorded(*(
                fixed(1, 1.7e9 + 1000 * number + step) + message(2, step) + scalar("loss", loss)
                for step, loss in points
            ))
        )  # fmt: skip


def write_one_event_file(folder: Path) -> None:
    (folder / "events.out.tfevents.1").write_bytes(events([*FIRST, *SECOND]))


def write_offline_files(folder: Path) -> None:
    (folder / "1.wandb").write_bytes(wandb_file(FIRST))
    later = [(step, value) for step, value in SECOND]
    (folder / "2.wandb").write_bytes(wandb_file(later, later_by=1000))


WRITERS = {
    "jsonl": ("wandb", lambda folder: write_table(folder, "jsonl")),
    "csv": ("wandb", lambda folder: write_table(folder, "csv")),
    "jsonl without times": ("wandb", lambda folder: write_table(folder, "jsonl", False)),
    "csv without times": ("wandb", lambda folder: write_table(folder, "csv", False)),
    "mlruns": ("mlflow", write_mlflow),
    "histories": ("mlflow", write_histories),
    "event files": ("tensorboard", write_event_files),
    "one event file": ("tensorboard", write_one_event_file),
    "offline files": ("wandb", write_offline_files),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_resumed_run_is_one_curve_and_keeps_its_abandoned_tail(
    still: Team, tmp_path: Path, kind: str
) -> None:
    format, write = WRITERS[kind]
    for _ in range(2):
        write(tmp_path)
        [run] = import_runs(tmp_path, format, still, None, "p")
    assert curve(run, "loss") == LIVE
    assert run.attempts.count() == 2 and run.step == 120
    assert len([row for row in values(run) if row[0] == "loss"]) == len(FIRST) + len(SECOND)
    evaluations = curve(run, "eval/loss")
    if evaluations:
        assert evaluations == {step: -loss for step, loss in LIVE.items() if step % 20 == 0}
    if kind == "mlruns":
        assert curve(run, "a_new") == dict(SECOND)
    if tests := [value for name, _, value in values(run) if name == "test/loss"]:
        assert tests == [81.0, 82.0, 122.0] and set(curve(run, "test/loss")) == {0.0}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_run_that_is_resumed_after_its_first_import_is_one_curve_too(
    still: Team, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    format, write = WRITERS[kind]
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.SECOND", [])
        write(tmp_path)
    for file in [path for path in tmp_path.rglob("*") if path.is_file()]:
        if not file.stat().st_size:
            file.unlink()
    import_runs(tmp_path, format, still, None, "p")
    write(tmp_path)
    [run] = import_runs(tmp_path, format, still, None, "p")
    assert Run.objects.count() == 1 and curve(run, "loss") == LIVE


def logs(points: list[tuple[int, float]], name: str = "loss") -> list[ImportedLog]:
    return [
        ImportedLog(index, LoggedValues({name: 0.0}, step, time))
        for index, (step, time) in enumerate(points)
    ]


def restarts(points: list[tuple[int, float]]) -> list[int]:
    """The steps at which a file with these steps and times shows a restart."""
    marked = list(mark_restarts(logs(points)))
    assert [row.offset for row in marked] == list(range(len(points)))
    return [row.log.step or 0 for row in marked if row.resumes]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([0, 1, 2, 3, 4], []),
        ([0, 1, 2, 3, 1, 2, 3, 4], [1]),
        ([0, 1, 2, 0, 1, 2, 0, 1, 2], [0, 0]),
        ([0, 1, 2, 3, 4, 3, 4, 5, 2, 3, 4, 5, 6], [3, 2]),
        # Two processes log at once, one a little behind the other.
        ([5, 4, 6, 5, 7, 6, 8], []),
        # A last result at an earlier step.
        ([0, 10, 20, 0], []),
        # Values that are logged twice at a step.
        ([0, 0, 1, 1, 2, 2], []),
        # The same step of two processes in turn.
        ([0, 1, 0, 2, 1, 3, 2, 4], []),
    ],
)
def test_a_restart_is_where_steps_that_a_series_has_passed_come_again(
    steps: list[int], expected: list[int]
) -> None:
    assert restarts([(step, 1.7e9 + clock) for clock, step in enumerate(steps)]) == expected
    assert restarts([(step, 0.0) for step in steps]) == expected


@given(st.permutations(list(range(30))))
def test_a_table_in_any_order_of_its_rows_shows_no_restart(steps: list[int]) -> None:
    assert restarts([(step, 1.7e9 + step) for step in steps]) == []
    assert restarts([(step, 0.0) for step in steps]) == []


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(2, 40), st.integers(2, 10)), min_size=1, max_size=5))
def test_every_restart_of_a_series_in_order_is_found(attempts: list[tuple[int, int]]) -> None:
    """Of a series that is logged at every step."""
    steps, expected = list(range(20)), []
    for back, count in attempts:
        first = max(0, steps[-1] - back)
        again = list(range(first, first + back + count))
        if first < steps[-1] - 1:
            expected.append(first)
            steps += again
    assert restarts([(step, 1.7e9 + clock) for clock, step in enumerate(steps)]) == expected


def test_event_files_that_were_written_at_the_same_time_are_joined(
    still: Team, tmp_path: Path
) -> None:
    for number in (0, 1):
        (tmp_path / f"events.out.tfevents.{number}").write_bytes(
            recorded(*(
                fixed(1, 1.7e9 + step + number / 2) + message(2, step) + scalar("loss", number)
                for step in range(10)
            ))
        )  # fmt: skip
    [run] = import_runs(tmp_path, "tensorboard", still, None, "p")
    assert run.attempts.count() == 1 and len(values(run)) == 20


def test_rows_that_wait_for_a_restart_have_a_bounded_number_of_values() -> None:
    """As of a wide table in which one series went back and never came again."""
    most = MOST_WAITING_VALUES
    read = 0

    def logs() -> Iterator[ImportedLog]:
        nonlocal read
        yield ImportedLog(0, LoggedValues({"a": 1.0}, 1, 0.0))
        yield ImportedLog(1, LoggedValues({"a": 1.0}, 2, 0.0))
        for number, step in enumerate([1, *range(3, 40)], 2):
            values = {f"n{index}": 1.0 for index in range(most // 10)}
            read += len(values)
            first = {"a": 1.0} if step == 1 else {}
            yield ImportedLog(number, LoggedValues(first | values, step, 0.0))

    passed_on = 0
    for row in mark_restarts(logs()):
        passed_on += len(row.log.values)
        assert read - passed_on <= most + most // 10


def test_a_run_with_a_restart_at_every_other_value_is_read_in_a_bounded_number_of_parts(
    still: Team, tmp_path: Path
) -> None:
    metrics = tmp_path / "mlruns" / "1" / "abc" / "metrics"
    metrics.mkdir(parents=True)
    (metrics.parent / "meta.yaml").write_text("run_id: abc\n")
    steps = [0, 1, 2, *(step for _ in range(MOST_RESTARTS + 50) for step in (0, 1))]
    lines = [f"{1000 * (at + 1)} {at} {step}\n" for at, step in enumerate(steps)]
    (metrics / "loss").write_text("".join(lines))
    source = next(iter(mlflow.found(tmp_path))).sources[0]
    rows = list(source.logs())
    assert sum(row.resumes for row in rows) == MOST_RESTARTS
    assert {row.log.values["loss"] for row in rows} == set(range(len(steps)))


def test_a_record_that_holds_media_is_passed_over(still: Team, tmp_path: Path) -> None:
    """Of which a run may have many, each of any size."""
    image = message(5, message(1, message(1, b"image") + message(4, bytes(9 * 2**20))))
    content = recorded(fixed(1, 1.7e9) + message(2, 1) + image, fixed(1, 1.7e9) + scalar("a", 1.0))
    (tmp_path / "tfevents.1").write_bytes(content)
    [run] = import_runs(tmp_path, "tensorboard", still, None, "p")
    assert values(run) == [("a", 0, 1.0)]
    (tmp_path / "tfevents.1").unlink()
    rows: list[dict[str, object]] = [
        {"_step": 0, "loss": 1.0, "text": "x" * 9 * 2**20},
        {"_step": 1, "loss": 2.0},
    ]
    (tmp_path / "run.wandb").write_bytes(offline(rows))
    [run] = import_runs(tmp_path, "wandb", still, None, "p")
    assert values(run) == [("loss", 1, 2.0)]
