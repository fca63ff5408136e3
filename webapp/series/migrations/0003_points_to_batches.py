"""Every point that was a row of its own becomes part of a batch; the next append, or the hourly
sweep, folds the batches.

One attempt of a run is one transaction, so that a migration that was interrupted goes on where it
was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import migrations, transaction

from webapp.series.storage.batches import encode_groups, group_rows

ROWS = 4096
READ = """
SELECT seq, step, min(tokens), min(compute), min(wall_time), array_agg(key ORDER BY key), array_agg(value ORDER BY key), max(news)
FROM metrics_point WHERE run_id = %s AND attempt = %s AND seq > %s GROUP BY seq, step ORDER BY seq LIMIT %s
"""
SEEN = """
INSERT INTO metrics_log (run_id, attempt, content, seen, rows, batches, folded, compacted)
SELECT %(run)s, %(attempt)s, FALSE, range_agg(int8range(seq, seq, '[]')), %(rows)s, %(batches)s, %(news)s, FALSE FROM (
    SELECT seq FROM metrics_point WHERE run_id = %(run)s AND attempt = %(attempt)s
    UNION SELECT seq FROM runs_event WHERE run_id = %(run)s AND attempt = %(attempt)s
) AS known
"""


def to_batches(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT run_id, attempt FROM metrics_point ORDER BY 1, 2")
        for run, attempt in cursor.fetchall():
            with transaction.atomic(using=schema_editor.connection.alias):
                _move(cursor, apps.get_model("metrics", "Batch"), run, attempt)


def _move(cursor: Any, batches: Any, run: int, attempt: int) -> None:
    place = {"run": run, "attempt": attempt, "rows": 0, "batches": 0, "news": 0}
    for rows, news in _blocks(cursor, run, attempt):
        place["rows"] += len(rows)
        place["batches"] += 1
        place["news"] = max(place["news"], news)
        batches.objects.create(
            run_id=run,
            attempt=attempt,
            news=news,
            rows=len(rows),
            data=encode_groups(group_rows(rows, content=False)),
        )
    cursor.execute(SEEN, place)
    cursor.execute("DELETE FROM metrics_point WHERE run_id = %s AND attempt = %s", [run, attempt])


def _blocks(cursor: Any, run: int, attempt: int) -> Iterator[tuple[list[dict[str, Any]], int]]:
    last = -1
    while True:
        cursor.execute(READ, [run, attempt, last, ROWS])
        found = cursor.fetchall()
        if not found:
            return
        last = found[-1][0]
        rows = [
            {
                "seq": seq,
                "step": step,
                "tokens": tokens,
                "compute": compute,
                "wall_time": moment,
                "values": dict(zip(keys, values, strict=True)),
            }
            for seq, step, tokens, compute, moment, keys, values, _ in found
        ]
        yield rows, max(row[-1] for row in found)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("metrics", "0002_columns"), ("runs", "0001_initial")]
    operations = [migrations.RunPython(to_batches, migrations.RunPython.noop)]
