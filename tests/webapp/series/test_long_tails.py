"""A tail that is not folded, because its process ended before that, is whole all the same."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from django.db import transaction

from tests.webapp.logs import NOON, losses
from webapp.ingest.event_log import lock_and_count_batch
from webapp.runs.models import Attempt, Run
from webapp.series import folding, series_store
from webapp.series.models import Batch, Series
from webapp.series.storage.batches import SIZES, decode_groups, encode_groups, group_rows
from webapp.series.storage.packing import pack

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MOST_ROWS": 24, "KEPT_ROWS": 6, "MOST_BATCHES": 7}.items():
        monkeypatch.setattr(folding, name, value)


def append(run: Run, rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Append without folding, as for a client that waits for its answer."""
    with transaction.atomic():
        Attempt.objects.get_or_create(run=run, number=1)
        batch_number = lock_and_count_batch(run.pk)
        return series_store.append_all([series_store.AppendRequest(run, 1, rows, batch_number)])


def drawn(run: Run) -> list[float]:
    (series,) = series_store.read([run], ["loss"], width=1000)
    return series.mean


def test_a_long_tail_is_read_whole_and_folded_after_a_later_append(run: Run) -> None:
    assert not append(run, losses(1, 20))
    assert append(run, losses(21, 40, 21)) == [(run.pk, 1)]
    assert not Series.objects.exists()
    assert drawn(run) == list(range(1, 41))
    assert append(run, losses(41, 41, 41)) == [(run.pk, 1)]
    series_store.fold_tail(run.pk, 1)
    assert Series.objects.get().count == 40
    append(run, losses(30, 42, 30))
    assert drawn(run) == list(range(1, 43))
    run.refresh_from_db()
    assert run.batch_count == 4


def test_folding_again_changes_nothing(run: Run) -> None:
    append(run, losses(1, 40))
    for _ in range(2):
        series_store.fold_tail(run.pk, 1)
        assert (Series.objects.get().count, drawn(run)) == (40, list(range(1, 41)))


def test_many_metrics_of_a_row_each_make_no_long_tail(run: Run) -> None:
    rows = [
        {"seq": n, "step": n % 2, "wall_time": NOON + n, "values": {f"m{n // 2}": float(n)}}
        for n in range(200)
    ]
    assert not append(run, rows)
    assert len(series_store.keys(run)) == 100
    assert series_store.latest(run, ["m7", "m99", "m100"]) == {"m7": 15.0, "m99": 199.0}


def test_batches_of_an_earlier_version_are_read(run: Run) -> None:
    """These packed each group by itself; here one of two keys and one of one."""
    append(run, losses(1, 3))
    groups = group_rows(
        [
            {"seq": 4, "step": 4, "wall_time": NOON, "values": {"loss": 0.1, "lr": 0.5}},
            {"seq": 5, "step": 5, "wall_time": NOON, "values": {"loss": 0.2, "lr": 0.25}},
            {"seq": 6, "step": 6, "wall_time": NOON, "values": {"reward": 0.3}},
        ],
        content=False,
    )
    bodies = [
        # Values that float32 holds come first; `loss` and `reward` need float64.
        pack([*groups[0].positions.columns(), np.array([0.5, 0.25]), np.array([0.1, 0.2])]),
        pack([*groups[1].positions.columns(), np.empty(0), np.array([0.3])]),
    ]
    head = json.dumps([[["lr", "loss"], 2, len(bodies[0])], [["reward"], 1, len(bodies[1])]])
    data = b"".join([SIZES.pack(len(head)), head.encode(), *bodies])
    Batch.objects.create(run=run, attempt=1, batch_number=2, rows=2, data=data)
    assert series_store.keys(run) == ["loss", "lr", "reward"]
    assert series_store.latest(run, ["loss", "lr", "reward"]) == {
        "loss": 0.2,
        "lr": 0.25,
        "reward": 0.3,
    }
    (only,) = decode_groups(data, frozenset(["lr", "absent"]))
    assert (only.keys, only.values.tolist()) == (("lr",), [[0.5, 0.25]])
    again = decode_groups(encode_groups(decode_groups(data)))
    assert [(group.keys, group.values.tolist()) for group in again] == [
        (("lr", "loss"), [[0.5, 0.25], [0.1, 0.2]]),
        (("reward",), [[0.3]]),
    ]
