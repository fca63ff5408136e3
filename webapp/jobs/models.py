"""Jobs over whole data sets, the parts that they are cut into, and who works on these.

What a job has found out is not stored twice: it is the sum of the tallies of its finished parts.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from webapp.access.models import Team
from webapp.library.models import Artifact, DataSet
from webapp.runs.models import public_id


class State(models.TextChoices):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


class Job(models.Model):
    """`spec` is a validated `JobSpec`. It runs from the moment it is made, though it may wait for a
    device.
    """

    public_id = models.CharField(max_length=16, unique=True, default=public_id)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20)
    spec = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    reason = models.TextField(blank=True)
    data_set = models.ForeignKey(DataSet, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["team", "-created_at"]),
            models.Index(
                fields=["created_at"], name="running_jobs", condition=models.Q(state="running")
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Shard(models.Model):
    """One part of a job. The first copy that finishes it sets `result`, once and for all."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="shards")
    part = models.IntegerField()
    result = models.ForeignKey(Artifact, null=True, on_delete=models.PROTECT)
    tally = models.JSONField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "part"], name="one_row_per_part")]


class Outcome(models.TextChoices):
    """What became of a copy; empty while it is at work."""

    WON = "won"
    LATE = "late"
    FAILED = "failed"
    LOST = "lost"
    STOPPED = "stopped"


class Copy(models.Model):
    """One try at a part, on one host with one device. `done` counts the problems that it has
    answered.
    """

    shard = models.ForeignKey(Shard, on_delete=models.CASCADE, related_name="copies")
    number = models.IntegerField()
    host = models.CharField(max_length=200)
    device = models.CharField(max_length=200)
    done = models.IntegerField(default=0)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["shard", "number"], name="one_row_per_copy")]
        indexes = [
            models.Index(
                fields=["heartbeat_at"], name="copies_at_work", condition=models.Q(ended_at=None)
            )
        ]

    @property
    def allocation_key(self) -> str:
        """Its key in `Device.allocated_to`."""
        return f"shard/{self.shard_id}/{self.number}"
