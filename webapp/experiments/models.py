"""Experiments: runs of one definition, repeated over seeds and with settings that vary."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.runs.models import Run, public_id


class Experiment(models.Model):
    """Arms × seeds over the definition `spec`.

    `arms` is [{"name", "changes": {path: value}}], the first of them the baseline.
    """

    public_id = models.CharField(max_length=16, unique=True, default=public_id)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    name = models.CharField(max_length=120)
    spec = models.JSONField()
    arms = models.JSONField()
    seeds = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["team", "-created_at"])]

    def __str__(self) -> str:
        return self.name


class ExperimentRun(models.Model):
    """The newest run of an arm (its index) with a seed; None if that run was deleted."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="runs")
    arm = models.IntegerField()
    seed = models.BigIntegerField()
    run = models.OneToOneField(Run, null=True, on_delete=models.SET_NULL)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["experiment", "arm", "seed"], name="one_run_per_arm_and_seed"
            )
        ]
