"""An imported file is its whole content: two files are two runs, the same file twice is one."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients.test_importers import (
    fixed,
    message,
    offline,
    recorded,
    scalar,
    values,
)
from tests.clients.test_trackio import curve
from tests.shared_cases import case, needs_cases
from webapp.access.models import Team
from webapp.clients.client_batch import digest_id
from webapp.clients.importers import UnreadableFile, import_runs, tables
from webapp.clients.models import ImportedFile, Origin, Receipt
from webapp.runs.models import Run
from webapp.series import series_store

pytestmark = pytest.mark.django_db
Points = list[tuple[int, float]]


def csv(points: Points) -> bytes:
    return b"_step,loss\n" + b"".join(b"%d,%r\n" % (step, value) for step, value in points)


def jsonl(points: Points) -> bytes:
    return "".join(
        json.dumps({"_step": step, "loss": value}) + "\n" for step, value in points
    ).encode()


def chart(points: Points) -> bytes:
    return b'"Step","fast - loss","fast - loss__MIN","fast - loss__MAX"\n' + b"".join(
        b'"%d","%r","%r","%r"\n' % (step, value, value, value) for step, value in points
    )


def events(points: Points) -> bytes:
    return recorded(
        fixed(1, 1.7e9) + message(3, b"brain.Event:2"),
        *(fixed(1, 1.7e9 + at) + message(2, step) + scalar("loss", value)
          for at, (step, value) in enumerate(points)),
    )  # fmt: skip


def wandb_file(points: Points, later_by: int = 0) -> bytes:
    return offline(
        [
            {"_step": step, "_timestamp": 1.7e9 + later_by + step, "loss": value}
            for step, value in points
        ]
    )


def history(points: Points) -> bytes:
    return b"key,value,step,timestamp\n" + b"".join(
        b"loss,%r,%d,%d\n" % (value, step, 10**12 + 1000 * step) for step, value in points
    )


# Format, name of a file, and what writes it.
TABLES: dict[str, tuple[str, str, Callable[[Points], bytes]]] = {
    "csv": ("wandb", "{}.csv", csv),
    "jsonl": ("wandb", "{}.jsonl", jsonl),
    "chart": ("wandb", "{}.csv", chart),
    "events": ("tensorboard", "{}/events.out.tfevents.1", events),
    "history": ("mlflow", "{}.csv", history),
}
every_kind = pytest.mark.parametrize("kind", TABLES)


def write(folder: Path, kind: str, name: str, points: Points) -> Path:
    file = folder / TABLES[kind][1].format(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(TABLES[kind][2](points))
    return file


def bring(folder: Path, kind: str, team: Team) -> list[Run]:
    return import_runs(folder, TABLES[kind][0], team, None, "p")


def points_of(run: Run) -> Points:
    return [(step, value) for _, step, value in values(run)]


@needs_cases
@pytest.mark.parametrize(("suffix", "count", "last"), [("csv", 100, 2.203585), ("jsonl", 20, 7.0)])
def test_two_files_that_begin_alike_are_two_runs(
    still: Team, tmp_path: Path, suffix: str, count: int, last: float
) -> None:
    for name in ("a", "b"):
        shutil.copy(case("02-import-same-head") / f"{name}.{suffix}", tmp_path)
        import_runs(tmp_path, "wandb", still, None, "p")
        (tmp_path / f"{name}.{suffix}").unlink()
    a, b = Run.objects.order_by("name")
    assert (a.name, b.name) == ("a", "b")
    assert (len(values(a)), len(values(b))) == (count, count)
    assert points_of(b)[-1][1] == last


@every_kind
def test_files_that_differ_anywhere_are_runs_of_their_own(
    still: Team, tmp_path: Path, kind: str
) -> None:
    """In the first value, in the middle, in the last one, or by what only one of them has."""
    same = [(step, 0.5) for step in range(10)]
    contents = [same]
    for changed in (0, 2, 5, 9):
        contents.append([(step, 0.25 if step == changed else value) for step, value in same])
    for index, points in enumerate(contents):
        write(tmp_path, kind, f"run{index}", points)
    runs = bring(tmp_path, kind, still)
    assert len(runs) == Run.objects.count() == len(contents)
    assert [points_of(run) for run in sorted(runs, key=lambda run: run.pk)] == contents


@every_kind
def test_a_file_is_one_run_under_any_name_and_at_any_import(
    still: Team, tmp_path: Path, kind: str
) -> None:
    points = [(step, step / 8) for step in range(10)]
    write(tmp_path, kind, "first", points)
    bring(tmp_path, kind, still)
    write(tmp_path, kind, "copy", points)
    runs = bring(tmp_path, kind, still)
    assert len(runs) == Run.objects.count() == 1 and points_of(runs[0]) == points


@every_kind
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=15,
)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4), fork=st.integers(0, 11))
def test_a_growing_file_continues_its_run_and_another_end_of_it_is_another_run(
    still: Team, tmp_path: Path, kind: str, lengths: list[int], fork: int
) -> None:
    """Also after an older copy of it was imported again."""
    Run.objects.all().delete()
    points = [(step, step / 8) for step in range(12)]
    lengths = sorted(lengths)
    for length in [*lengths, lengths[0], lengths[-1]]:
        write(tmp_path, kind, "run", points[:length])
        [run] = bring(tmp_path, kind, still)
    assert Run.objects.count() == 1 and points_of(run) == points[: lengths[-1]]
    write(tmp_path, kind, "run", [*points[:fork], (fork, 9.0)])
    [other] = bring(tmp_path, kind, still)
    if fork < lengths[-1]:
        assert other.pk != run.pk and points_of(run) == points[: lengths[-1]]
    assert points_of(other) == [*points[:fork], (fork, 9.0)]


@every_kind
def test_of_two_files_of_one_import_neither_continues_the_other(
    still: Team, tmp_path: Path, kind: str
) -> None:
    """As of a run that crashed early and of its repetition with the same seed."""
    points = [(step, step / 8) for step in range(10)]
    for count, name in ((3, "a"), (10, "b"), (6, "c")):
        write(tmp_path, kind, name, points[:count])
    for _ in range(2):
        runs = bring(tmp_path, kind, still)
        assert sorted(map(points_of, runs)) == [points[:3], points[:6], points]
    assert Run.objects.count() == 3
    # Of the three, the longest one has grown.
    (tmp_path / "again").mkdir()
    write(tmp_path / "again", kind, "d", [*points, (10, 9.0)])
    [run] = bring(tmp_path / "again", kind, still)
    assert points_of(run) == [*points, (10, 9.0)] and Run.objects.count() == 3


@pytest.mark.parametrize("kind", ["csv", "chart", "jsonl"])
def test_a_file_that_was_cut_anywhere_is_completed(still: Team, tmp_path: Path, kind: str) -> None:
    """A number of which a part was read is replaced, as when a run is resumed there."""
    points = [(0, 100.25), (10, 101.5), (20, 102.75), (30, 103.125)]
    complete = TABLES[kind][2](points)
    start = complete.index(b"101.5")
    for end in range(start, len(complete), 3):
        Run.objects.all().delete()
        for content in (complete[:end], complete, complete):
            (tmp_path / TABLES[kind][1].format("run")).write_bytes(content)
            [run] = bring(tmp_path, kind, still)
        assert Run.objects.count() == 1 and curve(run, "loss") == dict(points), end


def test_a_folder_of_event_files_continues_its_run_and_a_copy_that_went_on_does_not(
    still: Team, tmp_path: Path
) -> None:
    first = events([(0, 1.0), (1, 0.5)])
    for name, more in (("run", events([(2, 0.25)])), ("copy", events([(2, 0.125)]))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tfevents.1").write_bytes(first)
        (tmp_path / name / "tfevents.2").write_bytes(more)
    (tmp_path / "copy").rename(tmp_path.parent / "copy")
    [run] = import_runs(tmp_path, "tensorboard", still, None, "p")
    [copy] = import_runs(tmp_path.parent / "copy", "tensorboard", still, None, "p")
    assert run.pk != copy.pk and points_of(copy) == [(0, 1.0), (1, 0.5), (2, 0.125)]
    (tmp_path / "run" / "tfevents.3").write_bytes(events([(3, 0.0625)]))
    [again] = import_runs(tmp_path, "tensorboard", still, None, "p")
    assert again.pk == run.pk and [value for _, value in points_of(run)] == [1, 0.5, 0.25, 0.0625]


def test_the_same_file_in_another_project_is_another_run(still: Team, tmp_path: Path) -> None:
    write(tmp_path, "csv", "a", [(0, 1.0)])
    for project in ("p", "q", "q"):
        import_runs(tmp_path, "wandb", still, None, project)
    assert sorted(run.origin.project.name for run in Run.objects.all()) == ["p", "q"]


def of_earlier_version(run: Run, file: Path, with_receipts: bool) -> None:
    """Store what an earlier version knew of an imported table: a digest of its first lines."""
    head, offsets = tables.head(file), [offset for offset, _ in tables.rows(file)]
    ImportedFile.objects.all().delete()
    Origin.objects.filter(run=run).update(key=str(head))
    if with_receipts:
        Receipt.objects.bulk_create(
            Receipt(run=run, log=digest_id(head, offset)) for offset in offsets
        )
    else:
        ImportedFile.objects.create(run=run, head=head, done=offsets[-1] + 1)


@pytest.mark.parametrize("with_receipts", [False, True])
def test_a_file_that_an_earlier_version_imported_continues_its_run(
    still: Team, tmp_path: Path, with_receipts: bool
) -> None:
    points = [(step, float(step)) for step in range(6)]
    file = write(tmp_path, "csv", "run", points[:3])
    [run] = bring(tmp_path, "csv", still)
    of_earlier_version(run, file, with_receipts)
    file.write_bytes(csv(points))
    for _ in range(2):
        bring(tmp_path, "csv", still)
    assert Run.objects.count() == 1 and points_of(run) == points


@pytest.mark.parametrize("with_receipts", [False, True])
def test_a_file_that_begins_like_one_of_an_earlier_version_is_another_run(
    still: Team, tmp_path: Path, with_receipts: bool
) -> None:
    file = write(tmp_path, "csv", "run", [(0, 1.0), (1, 2.0), (2, 3.0)])
    [run] = bring(tmp_path, "csv", still)
    of_earlier_version(run, file, with_receipts)
    file.write_bytes(csv([(0, 1.0), (1, 2.5), (2, 3.5)]))
    [other] = bring(tmp_path, "csv", still)
    assert other.pk != run.pk and points_of(other) == [(0, 1.0), (1, 2.5), (2, 3.5)]
    assert points_of(run) == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_histories_of_mlflow_without_a_run_are_told_apart_by_their_content(
    still: Team, tmp_path: Path
) -> None:
    """With one, the runs' ids tell them apart, and values add up over files."""
    write(tmp_path, "history", "a", [(0, 1.0), (1, 2.0), (2, 3.0)])
    write(tmp_path, "history", "b", [(0, 1.0), (1, 2.0), (2, 4.0)])
    assert len(bring(tmp_path, "history", still)) == 2
    for name, row in (("a", b"r,loss,1,0,1000\n"), ("b", b"r,loss,2,1,2000\n")):
        (tmp_path / f"{name}.csv").write_bytes(b"run_id,key,value,step,timestamp\n" + row)
    [run] = bring(tmp_path, "history", still)
    assert points_of(run) == [(0, 1.0), (1, 2.0)]


CHART = b""""Step","fast - 1 - loss","fast - 1 - loss__MIN","fast - 1 - loss__MAX","slow - loss",\
"slow - loss__MIN","slow - loss__MAX"
"0","2.5","2.5","2.5","3","3","3"
"1","","","","2.5","2.5","2.5"
"5","2","1.5","2.25","NaN","NaN","NaN"
""".replace(b"\\\n", b"")


def test_a_chart_of_wandb_is_a_run_for_each_curve(still: Team, tmp_path: Path) -> None:
    """Extremes are kept where points were combined."""
    (tmp_path / "chart.csv").write_bytes(CHART)
    for _ in range(2):
        runs = import_runs(tmp_path, "wandb", still, None, "p")
    fast, slow = sorted(runs, key=lambda run: run.name)
    assert Run.objects.count() == 2 and (fast.name, slow.name) == ("fast - 1", "slow")
    assert values(fast) == [
        ("loss", 0, 2.5),
        ("loss", 5, 2.0),
        ("loss__MAX", 5, 2.25),
        ("loss__MIN", 5, 1.5),
    ]
    assert values(slow) == [("loss", 0, 3.0), ("loss", 1, 2.5)]
    assert math.isnan(curve(slow, "loss")[5])


@pytest.mark.parametrize(
    ("content", "runs"),
    [
        # Runs of one name.
        (
            b'"Step","a - x","a - x__MIN","a - x","a - x__MIN"\n0,1,0.5,3,3\n1,2,2,4,3.5\n',
            {"a": {"x": [1, 2], "x__MIN": [0.5]}, "a (2)": {"x": [3, 4], "x__MIN": [3.5]}},
        ),
        # Commas, quotes and line breaks in names.
        (
            b'Step,"lr=1e-3,bs=4 - x","say ""a"" - x","two\nlines - x"\n0,1,2,3\n',
            {"lr=1e-3,bs=4": {"x": [1]}, 'say "a"': {"x": [2]}, "two\nlines": {"x": [3]}},
        ),
        # Groups, and other statistics than extremes.
        (
            b"Step,Group: lr-1 - x,Group: lr-1 - x__MIN,Group: lr-1 - x__STDDEV\n0,2,1,0.5\n",
            {"Group: lr-1": {"x": [2], "x__MIN": [1], "x__STDDEV": [0.5]}},
        ),
        # Smoothed curves beside their own.
        (
            b"Step,a - x,a - x (smoothed),a - x - smoothed\n0,1,2,3\n",
            {"a": {"x": [1], "x (smoothed)": [2], "x - smoothed": [3]}},
        ),
        # Only extremes; empty cells; a row without any value.
        (
            b"Step,a - x__MIN,a - x__MAX,b - x\n0,1,2,\n1,,,\n2,,,5\n",
            {"a": {"x__MIN": [1], "x__MAX": [2]}, "b": {"x": [5]}},
        ),
        # What is no number; the last two are text.
        (
            b"Step,a - p,a - q,a - r,a - s\n0,Infinity,-Infinity,2026_11,null\n",
            {"a": {"p": [math.inf], "q": [-math.inf]}},
        ),
        # A column that pandas adds, and one that is given twice.
        (b",_step,x,x\n0,0,1,2\n", {"t": {"x": [1], "x (2)": [2]}}),
        # Steps in columns of the runs, beside an x axis that is a time.
        (
            b"Relative Time (Wall),a - _step,a - x,b - _step,b - x\n7,1,5,,\n8,,,2,6\n",
            {"a": {"x": [5]}, "b": {"x": [6]}},
        ),
    ],
)
def test_every_column_of_a_table_of_wandb_becomes_a_curve(
    still: Team, tmp_path: Path, content: bytes, runs: dict[str, dict[str, list[float]]]
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    import_runs(tmp_path, "wandb", still, None, "p")
    assert {
        run.name: {key: list(curve(run, key).values()) for key in series_store.keys(run)}
        for run in Run.objects.all()
    } == runs


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Relative Time (Process),a - x\n5,1\n", "has no steps: its first column is"),
        (b"Wall Time,a - x\n5,1\n", "has no steps: its first column is"),
        (b"_runtime,a - x\n5,1\n", "has no steps: its first column is"),
        (b"_timestamp,a - x\n1700000000,1\n", "has no steps: its first column is"),
        (b"Relative Time (Wall),a - _step,a - x\n5,1,1\n6,,2\n", "has values and no step"),
        (b"Step,a - x\n,1\n", "has values and no step"),
        (b"epoch,a - x\n0.5,1\n", "the step 0.5, which is no whole number"),
        (b"Step,a - x\nNaN,1\n", "the step nan, which is no whole number"),
        (b"Step;a - x\n0;1\n", "has no _step.*it has Step;a - x"),
        (b"Step\ta - x\n0\t1\n", "has no _step"),
        (b"Step\n0\n", "has no _step"),
        ("Step,a - x\n0,1\n".encode("utf-16"), "is not UTF-8 text"),
        (b"Step," + b",".join(b"r%d - x" % n for n in range(501)), "the curves of 501 runs"),
    ],
)
def test_a_table_of_wandb_without_steps_is_refused_with_what_is_missing(
    still: Team, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason):
        import_runs(tmp_path, "wandb", still, None, "p")


@pytest.mark.parametrize(
    ("content", "points"),
    [
        # Steps are those of the column `_step` where the x axis is another one.
        (b"Relative Time (Wall),a - _step,a - _step__MIN,a - loss\n0.5,7,7,1\n", [(7, 1.0)]),
        (b"train/global_step,a - loss,a - loss__MIN\n10,1,1\n20,2,2\n", [(10, 1.0), (20, 2.0)]),
        (b"Step,a - _timestamp,a - loss\n3,1700000000,1\n", [(3, 1.0)]),
        # Spreadsheets add a byte order mark and end lines in their own way.
        (b'\xef\xbb\xbf"Step","a - loss"\r\n1,2\r\n', [(1, 2.0)]),
        # A history whose names have the separator is none.
        (b"_step,loss,a - b\n1,2,\n", [(1, 2.0)]),
    ],
)
def test_charts_and_histories_are_told_apart_by_their_columns(
    still: Team, tmp_path: Path, content: bytes, points: Points
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    [run] = import_runs(tmp_path, "wandb", still, None, "p")
    assert run.name == "a" and points_of(run) == points


def test_a_refused_file_leaves_no_empty_run(still: Team, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(UnreadableFile, match="has no _step"):
        import_runs(tmp_path, "wandb", still, None, "p")
    assert not Run.objects.exists()
