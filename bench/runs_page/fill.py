"""The tables of a team with many runs, written by COPY from one seed.

The runs are of DEFINITIONS definitions: presets of all recipes, with different learning rates. Each
has all settings of its definition, FIGURES figures, and KEYS series of STEPS steps, which are one
batch, as finished runs of that length are kept. One run more has KEYS series of LONG_STEPS steps.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.store import material

DEFINITIONS, FIGURES, STEPS, LONG_STEPS = 20, 60, 100, 10**6
STATES = ("completed", "failed", "stopped", "running")
SHARES = (0.7, 0.15, 0.1, 0.05)
SERIES = ["loss", "eval/pass_rate", *(f"group/metric_{number}" for number in range(8))]
FIGURE_KEYS = ["pass_rate", "loss", "step", *(f"eval/figure_{n}" for n in range(FIGURES - 3))]
TABLES = (
    "runs_run",
    "runs_attempt",
    "runs_runvalue",
    "runs_runindex",
    "metrics_log",
    "metrics_batch",
)
# Each run in so many has a tag, and each in so many has notes.
TAGGED, NOTED = 10, 50
PERSON, LONG_RUN, NAME = "ada@still.example", "long", "run-"


@dataclass(frozen=True)
class Filled:
    """`cookie` is the session of a person of the team; `ids` are the public ids of the runs.

    `long_run` is the public id of the run of LONG_STEPS steps, `view` the key of a saved view.
    """

    cookie: str
    ids: Sequence[str]
    long_run: str
    view: int


@dataclass(frozen=True)
class _Row:
    """One of the many runs; `definition` is the index of its template."""

    pk: int
    definition: int
    name: str
    public_id: str
    state: str
    notes: str
    tags: list[str]


def fill(count: int, seed: int) -> None:
    """Fill the tables with `count` runs, the same for the same seed."""
    from django.db import connection

    team, user = _team()
    templates = _templates(team, user)
    rows = _rows(count, templates, np.random.default_rng(seed))
    with connection.cursor() as cursor:
        # Without checking each foreign key, of which there are two for each value.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for write in (_write_runs, _write_values, _write_indexes, _write_series):
            write(cursor, templates, rows)
        cursor.execute("RESET session_replication_role")
        _long_run(team, user, templates[0])
        for table in TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")
    _make_view(team, user)


def filled() -> Filled:
    """Return what `fill` has written; the person is signed in again."""
    from webapp.access.models import User
    from webapp.runs.models import Run, SavedView

    ids = Run.objects.filter(name__startswith=NAME).order_by("pk").values_list("public_id")
    return Filled(
        _cookie(User.objects.get(email=PERSON)),
        [public_id for (public_id,) in ids],
        Run.objects.get(name=LONG_RUN).public_id,
        SavedView.objects.get().pk,
    )


def _team() -> tuple[Any, Any]:
    from webapp.access.models import Membership, Role, Team, User

    # The team of `material`, to which the long run is appended.
    team, _ = Team.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    user = User.objects.create_user(PERSON, name="Ada")
    Membership.objects.create(team=team, user=user, role=Role.EDITOR)
    return team, user


def _cookie(user: Any) -> str:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


def _make_view(team: Any, user: Any) -> None:
    from webapp.runs.models import SavedView

    query = "q=state%3Acompleted+lr%3C1e-3&sort=-pass_rate&column=state&column=lr&column=loss"
    SavedView.objects.create(team=team, owner=user, name="Best", query=query)


def _templates(team: Any, user: Any) -> list[Any]:
    """One run of each definition."""
    from trainer import recipes
    from trainer.spec import to_dict
    from webapp.runs import lifecycle

    presets = [
        to_dict(recipe.spec(preset))
        for recipe in map(recipes.load, recipes.names())
        for preset in recipe.presets
    ]
    runs = []
    for number in range(DEFINITIONS):
        spec = json.loads(json.dumps(presets[number % len(presets)]))
        for stage in spec["stages"]:
            stage["optimiser"]["learning_rate"] *= 1 + number // len(presets)
        run = lifecycle.create_run(team, user, spec, state="completed")
        run.refresh_from_db()
        runs.append(run)
    return runs


def _rows(count: int, templates: Sequence[Any], chance: np.random.Generator) -> list[_Row]:
    first = max(run.pk for run in templates) + 1
    definitions = chance.integers(len(templates), size=count).tolist()
    states = chance.choice(STATES, size=count, p=SHARES).tolist()
    return [
        _Row(
            first + index,
            definitions[index],
            f"{NAME}{index:06d}",
            secrets.token_hex(8),
            states[index],
            ""
            if index % NOTED
            else f"Compare with {NAME}{(index * 7) % count:06d}, tuned by hand.",
            [] if index % TAGGED else ["ablation"],
        )
        for index in range(count)
    ]


def _write_runs(cursor: Any, templates: Sequence[Any], rows: Sequence[_Row]) -> None:
    from psycopg.types.json import Jsonb

    from webapp.runs.models import Run

    fields = list(Run._meta.concrete_fields)
    columns = ", ".join(f'"{field.column}"' for field in fields)
    json_columns = {field.attname for field in fields if field.get_internal_type() == "JSONField"}
    curve = [round(1 / (1 + step), 4) for step in range(40)]
    of_templates = [
        {
            **{field.attname: getattr(run, field.attname) for field in fields},
            "summary": {
                **run.summary,
                "sparkline": curve,
                "sketched": "loss",
                "pass_rate": 0.5,
            },
            "attempt": 1,
            "batch_count": 1,
            "step": STEPS,
        }
        for run in templates
    ]
    with cursor.copy(f"COPY runs_run ({columns}) FROM STDIN") as copy:
        for row in rows:
            values = {
                **of_templates[row.definition],
                "id": row.pk,
                "public_id": row.public_id,
                "name": row.name,
                "state": row.state,
                "notes": row.notes,
                "tags": row.tags,
            }
            copy.write_row(
                [
                    Jsonb(value) if name in json_columns and value is not None else value
                    for name, value in values.items()
                ]
            )
    cursor.execute("SELECT setval('runs_run_id_seq', (SELECT max(id) FROM runs_run))")


def _write_values(cursor: Any, templates: Sequence[Any], rows: Sequence[_Row]) -> None:
    """Write settings and figures; the indexes are made afterwards, which is faster."""
    chance = np.random.default_rng(len(rows))
    team = templates[0].team_id
    blocks = [_settings_block(run) for run in templates]
    with (
        _without_indexes(cursor, "runs_runvalue", "run_values_%"),
        cursor.copy(
            "COPY runs_runvalue (run_id, team_id, key, number, text, is_setting) FROM STDIN"
        ) as copy,
    ):
        for row in rows:
            figures = "".join(
                f"{row.pk}\t{team}\t{key}\t{value!r}\t\\N\tf\n"
                for key, value in zip(FIGURE_KEYS, chance.random(FIGURES).tolist(), strict=True)
            )
            copy.write(figures + blocks[row.definition].replace("\x01", str(row.pk)))


def _write_indexes(cursor: Any, templates: Sequence[Any], rows: Sequence[_Row]) -> None:
    from webapp.runs import search_words
    from webapp.runs.models import RunIndex

    texts = [RunIndex.objects.get(run=run).text for run in templates]
    with (
        _without_indexes(cursor, "runs_runindex", "runs_by_word"),
        cursor.copy(
            "COPY runs_runindex (run_id, team_id, text, words, settings_left_out, "
            "figures_left_out, read_batch) FROM STDIN"
        ) as copy,
    ):
        for row in rows:
            template, text = templates[row.definition], texts[row.definition]
            written: Any = SimpleNamespace(
                name=row.name, notes=row.notes, recipe=template.recipe, public_id=row.public_id
            )
            words = search_words.vector(written, text)
            copy.write_row([row.pk, template.team_id, text, words, 0, 0, 1])


def _write_series(cursor: Any, templates: Sequence[Any], rows: Sequence[_Row]) -> None:
    """Write one batch and its log for each run, as `series_store.append` does."""
    _write(
        cursor,
        "runs_attempt (run_id, number, host, folder, step, last_seq)",
        ((row.pk, 1, "", "", STEPS, STEPS) for row in rows),
    )
    _write(
        cursor,
        "metrics_log (run_id, attempt, content, seen, rows, batches, folded, compacted)",
        ((row.pk, 1, False, f"{{[1,{STEPS + 1})}}", STEPS, 1, 0, True) for row in rows),
    )
    _write(
        cursor,
        "metrics_batch (run_id, attempt, batch_number, rows, data)",
        ((row.pk, 1, 1, STEPS, data) for row, data in zip(rows, _batches(len(rows)), strict=True)),
    )


def _batches(count: int) -> Iterator[bytes]:
    """Yield packed batches of SERIES × STEPS values: curves that fall, each with its own noise."""
    from webapp.series.storage.batches import RowGroup, encode_groups, group_rows

    rows = list(material.rows(SERIES, material.single, 0, STEPS))
    (group,) = group_rows(rows, content=False)
    chance = np.random.default_rng(count)
    for _ in range(count):
        noise = 0.05 * chance.standard_normal(group.values.shape)
        values = (group.values + noise).astype(np.float32).astype(np.float64)
        yield encode_groups([RowGroup(group.keys, group.positions, values)])


def _long_run(team: Any, user: Any, template: Any) -> None:
    """Append a run of LONG_STEPS steps as an ingest does, and finish it."""
    from webapp.runs import lifecycle
    from webapp.runs.models import Attempt
    from webapp.series import series_store

    run = lifecycle.create_run(team, user, template.spec, name=LONG_RUN, state="completed")
    Attempt.objects.create(run=run, number=1, last_seq=LONG_STEPS)
    for start in range(0, LONG_STEPS, 5000):
        material.append(run, list(material.rows(SERIES, material.single, start, start + 5000)))
    series_store.compact(run)


def _write(cursor: Any, table: str, rows: Iterable[Sequence[Any]]) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


@contextmanager
def _without_indexes(cursor: Any, table: str, names: str) -> Iterator[None]:
    """The indexes of `table` with such names are made again afterwards."""
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexname LIKE %s",
        [table, names],
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        cursor.execute(definition)


def _settings_block(run: Any) -> str:
    """Return the settings of a run in the text format of COPY, with \\x01 for the run's key."""
    rows = run.values.values_list("team_id", "key", "number", "text")
    return "".join(
        f"\x01\t{team}\t{key}\t{_copied(number)}\t{_copied(text)}\tt\n"
        for team, key, number, text in rows
    )


def _copied(value: Any) -> str:
    if value is None:
        return "\\N"
    text = str(value) if isinstance(value, str) else repr(value)
    for character, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escape)
    return text
