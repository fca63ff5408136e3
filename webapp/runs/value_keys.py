"""Which keys of figures and settings a team's runs have, and which texts, for completion and help.

Distinct keys are read by skipping from one to the next in the index: the cost grows with the number
of keys, not with the number of runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

MOST_KEYS = 2000
# Whether a run has such a value that is not deleted: deleted ones keep theirs until nobody can
# restore them any more. No EXISTS, which may become a join that reads all values.
OF_RUNS = """
(
    SELECT TRUE FROM runs_runvalue AS value JOIN runs_run AS run ON run.id = value.run_id
    WHERE value.team_id = %(team)s AND {condition} AND run.deleted_at IS NULL LIMIT 1
)
"""
EXISTING = f"""
SELECT given.key FROM unnest(%(keys)s::text[]) AS given(key)
WHERE {OF_RUNS.format(condition="value.key = given.key AND value.number IS NOT NULL")}
    OR {OF_RUNS.format(condition="value.key = given.key AND value.text IS NOT NULL")}
"""
NEXT_KEY = """
WITH RECURSIVE keys AS (
    (SELECT key FROM runs_runvalue WHERE team_id = %(team)s AND {column} IS NOT NULL
     ORDER BY key LIMIT 1)
    UNION ALL
    SELECT (SELECT value.key FROM runs_runvalue AS value
            WHERE value.team_id = %(team)s AND value.{column} IS NOT NULL AND value.key > keys.key
            ORDER BY value.key LIMIT 1)
    FROM keys WHERE keys.key IS NOT NULL
)
SELECT key FROM keys WHERE key IS NOT NULL AND {of_runs} LIMIT %(most)s
"""
NEXT_TEXT = f"""
WITH RECURSIVE texts AS (
    (SELECT text FROM runs_runvalue WHERE team_id = %(team)s AND key = %(key)s
        AND text IS NOT NULL ORDER BY text LIMIT 1)
    UNION ALL
    SELECT (SELECT value.text FROM runs_runvalue AS value
            WHERE value.team_id = %(team)s AND value.key = %(key)s AND value.text IS NOT NULL
                AND value.text > texts.text ORDER BY value.text LIMIT 1)
    FROM texts WHERE texts.text IS NOT NULL
)
SELECT text FROM texts WHERE text IS NOT NULL
    AND {OF_RUNS.format(condition="value.key = %(key)s AND value.text = texts.text")}
LIMIT %(most)s
"""


def existing_keys(team_id: int, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` that a run of the team has."""
    if not keys:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(EXISTING, {"keys": list(keys), "team": team_id})
        return {key for (key,) in cursor.fetchall()}


def keys_of(team_id: int, most: int = MOST_KEYS) -> list[str]:
    """Return the keys of the team's runs, sorted; of more than `most` the first."""
    keys: set[str] = set()
    with connection.cursor() as cursor:
        for column in ("number", "text"):
            condition = f"value.key = keys.key AND value.{column} IS NOT NULL"
            query = NEXT_KEY.format(column=column, of_runs=OF_RUNS.format(condition=condition))
            cursor.execute(query, {"team": team_id, "most": most})
            keys |= {key for (key,) in cursor.fetchall()}
    return sorted(keys)[:most]


def texts_of(team_id: int, key: str, most: int) -> list[str]:
    """Return at most `most` texts that the team's runs have under `key`, sorted."""
    with connection.cursor() as cursor:
        cursor.execute(NEXT_TEXT, {"team": team_id, "key": key, "most": most})
        return [text for (text,) in cursor.fetchall()]
