"""The console: the sample run, and runs that were made elsewhere."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.webapp.logs import event, losses
from trainer import recipes
from trainer.events import EventLog
from trainer.spec import to_dict
from webapp.access.models import Team, User
from webapp.runs.models import Event, Run, State
from webapp.series import series_store

pytestmark = pytest.mark.django_db


def printed(command: str, *args: str, **options: Any) -> str:
    out = StringIO()
    call_command(command, *args, stdout=out, **options)
    return out.getvalue().strip()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A run's folder as the trainer leaves it: an attempt that was killed, and one that went on
    from step 8.
    """
    folder = tmp_path / "elsewhere"
    write(folder, 1, [*losses(1, 10), event(11, "log", level="info", message="half way")])
    write(
        folder,
        2,
        [
            event(1, "rewind", step=8),
            *losses(9, 20, seq=2),
            event(14, "end", outcome="completed", reason="All steps are done."),
        ],
    )
    return folder


def write(folder: Path, attempt: int, events: list[dict[str, Any]]) -> None:
    log = EventLog(folder / "attempts" / str(attempt) / "events", attempt)
    for fields in events:
        log.emit(
            fields["type"],
            **{
                key: value
                for key, value in fields.items()
                if key not in ("v", "attempt", "seq", "wall_time", "monotonic", "type")
            },
        )
    log.close()


def test_the_sample_run_is_queued_once(still: Team, alice: User) -> None:
    assert "Queued" in printed("sample_run")
    assert "already" in printed("sample_run")
    run = Run.objects.get()
    assert (run.team, run.owner, run.state, run.tags) == (still, alice, State.QUEUED, ["sample"])
    assert run.spec == to_dict(recipes.load("paced").spec("sample"))


def test_without_a_team_there_is_no_sample_run(db: None) -> None:
    with pytest.raises(CommandError, match="first_admin"):
        printed("sample_run")


def test_a_run_made_elsewhere_is_imported_completely(still: Team, elsewhere: Path) -> None:
    output = printed("import_run", str(elsewhere), team="still")
    run = Run.objects.get()
    assert run.public_id in output
    assert (run.source, run.state, run.step, run.reason) == (
        Run.Source.IMPORTED,
        State.COMPLETED,
        20,
        "All steps are done.",
    )
    (loss,) = series_store.read([run], ["loss"])
    assert loss.mean == [float(step) for step in range(1, 21)]
    assert Event.objects.filter(run=run, type="log").count() == 1
    assert None not in (run.started_at, run.last_event_at)
    assert run.finished_at == run.last_event_at


def test_an_import_includes_the_definition(still: Team, elsewhere: Path) -> None:
    spec = to_dict(recipes.load("paced").spec("sample"))
    (elsewhere / "spec.json").write_text(json.dumps({**spec, "name": "from afar"}))
    printed("import_run", str(elsewhere))
    run = Run.objects.get()
    assert (run.name, run.recipe, run.spec) == ("from afar", "paced", {**spec, "name": "from afar"})


def test_a_longer_log_is_continued_without_duplicates(still: Team, elsewhere: Path) -> None:
    grown = elsewhere.with_name("grown")
    shutil.copytree(elsewhere, grown)
    shutil.rmtree(elsewhere / "attempts" / "2")
    printed("import_run", str(elsewhere))
    run = Run.objects.get()
    assert (run.state, run.reason) == (State.STOPPED, "The log does not say how the run ended.")
    printed("import_run", str(grown), into=run.public_id)
    run.refresh_from_db()
    assert (run.state, run.attempt, series_store.read([run], ["loss"])[0].count) == (
        State.COMPLETED,
        2,
        20,
    )


def test_a_damaged_log_is_imported_up_to_the_damage_with_a_warning(
    still: Team, elsewhere: Path
) -> None:
    (segment,) = (elsewhere / "attempts" / "2" / "events").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(
        b"".join(lines[:5]) + b"\xff{ this is no event\n" + b"".join(lines[5:7]) + lines[7][:20]
    )
    printed("import_run", str(elsewhere))
    run = Run.objects.get()
    assert (run.state, run.step) == (State.STOPPED, 14)
    assert "does not say how the run ended" in run.reason
    assert "unreadable line" in run.reason
    assert "the last line of attempt 2, which is not whole" in run.reason


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "holds no attempts"), ("{", "cannot be read"), ('{"recipe": 5}', "cannot be read")],
)
def test_a_folder_that_is_no_run_is_refused_with_a_reason(
    still: Team, elsewhere: Path, content: str | None, sentence: str
) -> None:
    if content is None:
        shutil.rmtree(elsewhere / "attempts")
    else:
        (elsewhere / "spec.json").write_text(content)
    with pytest.raises(CommandError, match=sentence):
        printed("import_run", str(elsewhere))
    assert not Run.objects.exists()


DEEP = "[" * 100_000


def test_a_definition_nested_too_deeply_is_refused_with_a_reason(
    still: Team, elsewhere: Path
) -> None:
    (elsewhere / "spec.json").write_text(DEEP)
    with pytest.raises(CommandError, match="nested too deeply"):
        printed("import_run", str(elsewhere))


def test_an_attempt_with_too_large_a_number_is_refused_with_a_reason(
    still: Team, elsewhere: Path
) -> None:
    (elsewhere / "attempts" / ("9" * 200) / "events").mkdir(parents=True)
    with pytest.raises(CommandError, match="too large a number"):
        printed("import_run", str(elsewhere))
    assert not Run.objects.exists()


def test_a_run_is_named_by_the_beginning_of_a_long_folder_name(
    still: Team, elsewhere: Path
) -> None:
    printed("import_run", str(elsewhere.rename(elsewhere.with_name("n" * 200))))
    assert Run.objects.get().name == "n" * 120


def test_a_line_nested_too_deeply_is_reported_and_the_rest_is_recorded(
    still: Team, elsewhere: Path
) -> None:
    (segment,) = (elsewhere / "attempts" / "2" / "events").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(
        DEEP.encode() + b"\n" + b"".join(lines) + b'{"seq": 99, "a": ' + DEEP.encode() + b"\n"
    )
    printed("import_run", str(elsewhere))
    run = Run.objects.get()
    assert (run.state, run.step) == (State.COMPLETED, 20)
    assert "unreadable line" in run.reason


def test_an_unknown_team_is_refused(still: Team, elsewhere: Path) -> None:
    with pytest.raises(CommandError, match="no such team"):
        printed("import_run", str(elsewhere), team="nobody")


def test_without_a_team_nothing_is_imported(db: None, elsewhere: Path) -> None:
    with pytest.raises(CommandError, match="no team yet"):
        printed("import_run", str(elsewhere))
