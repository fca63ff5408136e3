"""`python -m bench runs-page`: the list of runs of a team that has many.

The tables are filled by COPY with STILLROOM_BENCH_RUNS runs (default 100,000) of 20 definitions,
each with all of its settings and 60 figures, from one seed. One client asks the web server over one
connection, 200 times after a warm-up, each time with other limits and words. Series are not filled:
the list does not read them.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psutil

from bench.services import services, web_server

RUNS = int(os.environ.get("STILLROOM_BENCH_RUNS", "100000"))
DEFINITIONS, FIGURES, REQUESTS, WARM_UP = 20, 60, 200, 20
STATES = ("completed", "failed", "stopped", "running")
SHARES = (0.7, 0.15, 0.1, 0.05)
SEED = 20
Query = Callable[[np.random.Generator], dict[str, Any]]


def measure() -> list[dict[str, Any]]:
    with services() as state:
        import django

        django.setup()
        began = time.monotonic()
        cookie = _fill()
        filled_s = time.monotonic() - began
        with web_server(state / "web.log") as (address, _):
            rows = [_row(name, *_measured(address, cookie, make)) for name, make in QUERIES.items()]
    return [{**row, "runs": RUNS, "filled in s": round(filled_s)} for row in rows]


def _limits(chance: np.random.Generator) -> dict[str, Any]:
    return {
        "q": f"state:completed recipe:paced pass_rate>{chance.uniform(0.3, 0.9):.3f}",
        "sort": str(chance.choice(["loss", "-loss", "-pass_rate", "eval/figure_17"])),
        "column": ["state", "pass_rate", "loss", "lr"],
    }


QUERIES: dict[str, Query] = {
    "newest runs": lambda chance: {},
    "one sort, three filters": _limits,
    "the same, few matches": lambda chance: {
        **_limits(chance),
        "q": f"state:failed lr<1e-3 pass_rate>{chance.uniform(0.995, 0.999):.4f}",
    },
    "a page in the middle of a sort": lambda chance: {
        "sort": "loss",
        "after": f"number.1.{float(chance.uniform(0.2, 0.8)).hex()}",
    },
    "a word of one run": lambda chance: {"q": f"run-{chance.integers(RUNS):06d}"},
    "a word of settings, and a sort": lambda chance: {"q": "reverse_kl cosine", "sort": "-loss"},
    "grouped by a setting": lambda chance: {"group": "lr", "column": ["loss", "pass_rate"]},
}


def _queries(make: Query) -> Iterator[str]:
    chance = np.random.default_rng(SEED)
    return ("/?" + urlencode(make(chance), doseq=True) for _ in range(WARM_UP + REQUESTS))


def _measured(address: str, cookie: str, make: Query) -> tuple[list[float], float]:
    """Return the seconds of each request, and the average CPU seconds of all processes for one."""
    seconds, spent = [], 0.0
    for number, query in enumerate(_queries(make)):
        if number == WARM_UP:
            spent = _cpu_seconds()
        seconds.append(_ask(address, cookie, query))
    return seconds[WARM_UP:], (_cpu_seconds() - spent) / REQUESTS


def _cpu_seconds() -> float:
    """Return the CPU seconds of the web server, Postgres and Redis.

    They tell what a page costs also where the machine is busy with something else.
    """
    times = (process.cpu_times() for process in psutil.Process().children(recursive=True))
    return sum(time.user + time.system for time in times)


_connections: dict[str, http.client.HTTPConnection] = {}


def _ask(address: str, cookie: str, path: str) -> float:
    """Return the seconds until the whole page was read."""
    connection = _connections.setdefault(address, http.client.HTTPConnection(address))
    began = time.perf_counter()
    connection.request("GET", path, headers={"Cookie": cookie})
    response = connection.getresponse()
    content = response.read()
    seconds = time.perf_counter() - began
    assert response.status == 200, (response.status, content[:2000])
    return seconds


def _row(name: str, seconds: Sequence[float], cpu_seconds: float) -> dict[str, Any]:
    times = [1000 * second for second in seconds]
    return {
        "page": name,
        "median ms": round(statistics.median(times), 1),
        "p95 ms": round(statistics.quantiles(times, n=20)[-1], 1),
        "most ms": round(max(times), 1),
        "CPU ms": round(1000 * cpu_seconds, 1),
    }


def _fill() -> str:
    """Fill the tables; return the cookie of a person of the team."""
    from django.conf import settings
    from django.db import connection
    from django.test import Client

    from webapp.access.models import Membership, Role, Team, User

    team = Team.objects.create(name="Still", slug="still")
    user = User.objects.create_user("ada@still.example", name="Ada")
    Membership.objects.create(team=team, user=user, role=Role.EDITOR)
    chance = np.random.default_rng(SEED)
    templates = _templates(team, user)
    definition_of = chance.integers(DEFINITIONS, size=RUNS)
    first = max(run.pk for run in templates) + 1
    with connection.cursor() as cursor:
        _copy_runs(cursor, templates, definition_of, chance, first)
        _copy_values(cursor, templates, definition_of, chance, first)
        for table in ("runs_run", "runs_runvalue", "runs_runindex"):
            cursor.execute(f"VACUUM ANALYZE {table}")
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


def _templates(team: Any, user: Any) -> list[Any]:
    """One run of each definition: the presets of all recipes with different learning rates."""
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
        run = lifecycle.create_run(team, user, spec)
        run.refresh_from_db()
        runs.append(run)
    return runs


def _copy_runs(
    cursor: Any, templates: Sequence[Any], definition_of: Any, chance: Any, first: int
) -> None:
    from psycopg.types.json import Jsonb

    from webapp.runs.models import Run

    fields = list(Run._meta.concrete_fields)
    columns = ", ".join(f'"{field.column}"' for field in fields)
    json_columns = {field.attname for field in fields if field.get_internal_type() == "JSONField"}
    states = chance.choice(STATES, size=RUNS, p=SHARES)
    curve = [round(1 / (1 + step), 4) for step in range(40)]
    with cursor.copy(f"COPY runs_run ({columns}) FROM STDIN") as copy:
        for index in range(RUNS):
            template = templates[definition_of[index]]
            values = {
                **{field.attname: getattr(template, field.attname) for field in fields},
                "id": first + index,
                "public_id": secrets.token_hex(8),
                "name": f"run-{index:06d}",
                "state": str(states[index]),
                "summary": {
                    **template.summary,
                    "sparkline": curve,
                    "sketched": "loss",
                    "pass_rate": 0.5,
                },
                "tags": ["ablation"] if index % 10 == 0 else [],
            }
            copy.write_row(
                [
                    Jsonb(value) if name in json_columns and value is not None else value
                    for name, value in values.items()
                ]
            )


def _copy_values(
    cursor: Any, templates: Sequence[Any], definition_of: Any, chance: Any, first: int
) -> None:
    """Copy settings, figures and texts; the indexes are made afterwards, which is faster."""
    from webapp.runs.models import RunIndex

    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'runs_runvalue' "
        "AND indexname LIKE 'run_values_%%'"
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    blocks = [_settings_block(run) for run in templates]
    texts = [RunIndex.objects.get(run=run).text for run in templates]
    team = templates[0].team_id
    keys = ["pass_rate", "loss", "step"] + [
        f"eval/figure_{number}" for number in range(FIGURES - 3)
    ]
    with cursor.copy(
        "COPY runs_runvalue (run_id, team_id, key, number, text, is_setting) FROM STDIN"
    ) as copy:
        for index in range(RUNS):
            run = first + index
            figures = "".join(
                f"{run}\t{team}\t{key}\t{value!r}\t\\N\tf\n"
                for key, value in zip(keys, chance.random(FIGURES).tolist(), strict=True)
            )
            copy.write(figures + blocks[definition_of[index]].replace("\x01", str(run)))
    with cursor.copy(
        "COPY runs_runindex (run_id, team_id, text, settings_left_out, figures_left_out, "
        "read_batch, read_at) FROM STDIN"
    ) as copy:
        for index in range(RUNS):
            copy.write_row([first + index, team, texts[definition_of[index]], 0, 0, 0, None])
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
