"""Experiments: runs of one definition, repeated over seeds and with settings that vary.

An experiment that a recipe ships may start from students of its own, one for each seed: they are
trained first (`BaseStudent`).
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.library.models import StoredModel
from webapp.runs.models import Run, public_id


class Experiment(models.Model):
    """Arms × seeds over the definition `spec`.

    `arms` is [{"name", "changes": {path: value}}], the first of them the baseline. One that
    reproduces what a recipe ships has its definition (`trainer.experiments.definition`) with the
    seeds of this time in `shipped`, and an empty `spec`.
    """

    public_id = models.CharField(max_length=16, unique=True, default=public_id)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    name = models.CharField(max_length=120)
    spec = models.JSONField()
    shipped = models.JSONField(null=True)
    arms = models.JSONField()
    seeds = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["team", "-created_at"])]

    def __str__(self) -> str:
        return self.name


class BaseStudent(models.Model):
    """The student `base:<name>` from which a team's experiments start their runs with `seed`.

    It has its model and the locations of its data `files` by name once a worker has trained it.
    `claim` counts the workers that took it and is their fencing number; the last one renews
    `heartbeat_at`. `progress` is the last line of the training, `problem` why it failed.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    name = models.CharField(max_length=40)
    seed = models.BigIntegerField()
    model = models.ForeignKey(StoredModel, null=True, on_delete=models.SET_NULL)
    files = models.JSONField(default=dict)
    claim = models.IntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True)
    progress = models.CharField(max_length=200, blank=True)
    problem = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "name", "seed"], name="one_base_per_seed")
        ]

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"


class ExperimentRun(models.Model):
    """The newest run of an arm (its index) with a seed; None if that run was deleted.

    A run that `waits_for` base students is created and queued once they are trained.
    """

    class Launch(models.TextChoices):
        WAITING = "waiting"
        QUEUED = "queued"
        STOPPED = "stopped"
        FAILED = "failed"

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="runs")
    arm = models.IntegerField()
    seed = models.BigIntegerField()
    run = models.OneToOneField(Run, null=True, on_delete=models.SET_NULL)
    launch = models.CharField(max_length=7, choices=Launch, default=Launch.QUEUED)
    waits_for = models.ManyToManyField(BaseStudent, related_name="cells")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["experiment", "arm", "seed"], name="one_run_per_arm_and_seed"
            )
        ]

    @property
    def state(self) -> str:
        """The state of the run; without one “waiting”, “stopped”, “failed” or “deleted”."""
        if self.run is not None:
            return self.run.state
        return "deleted" if self.launch == self.Launch.QUEUED else str(self.launch)

    @property
    def may_be_repeated(self) -> bool:
        return self.state in ("failed", "stopped", "deleted")
