"""The series of runs. Only `webapp.metrics` touches this table: everything else calls `metrics.read` and `metrics.append`."""

from __future__ import annotations

from django.db import models

from webapp.runs.models import Run


class Point(models.Model):
    """One value of one key. Idempotent by (run, attempt, seq, key)."""

    pk = models.CompositePrimaryKey("run_id", "attempt", "seq", "key")
    run = models.ForeignKey(Run, on_delete=models.CASCADE)
    attempt = models.IntegerField()
    seq = models.BigIntegerField()
    key = models.CharField(max_length=120)
    step = models.BigIntegerField()
    value = models.FloatField()
    tokens = models.BigIntegerField(default=0)
    compute = models.FloatField(default=0.0)
    wall_time = models.FloatField()
    news = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["run", "key", "step"]), models.Index(fields=["run", "news"])]
