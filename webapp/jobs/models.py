"""Jobs over whole data sets, the parts (shards) they are split into, and the copies of these.

The result of a job is not stored twice: it is the sum of the tallies of its finished parts.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.library.models import Artifact, DataSet
from webapp.runs.models import public_id


class State(models.TextChoices):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


class Job(models.Model):
    """A job; `spec` is a validated `JobSpec`.

    It is running from its creation on, even while it waits for a device.
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
    created_at = models.DateTimeField(db_default=Now())
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
    """One part of a job. The first copy that finishes it sets `result`; it never changes again."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="shards")
    part = models.IntegerField()
    # Protected, so that the database refuses if the readers of `artifacts.collect` miss a file.
    result = models.ForeignKey(Artifact, null=True, on_delete=models.PROTECT)
    tally = models.JSONField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "part"], name="one_row_per_part")]


class Outcome(models.TextChoices):
    """How a copy ended; empty while it is running."""

    WON = "won"
    LATE = "late"
    FAILED = "failed"
    LOST = "lost"
    STOPPED = "stopped"


class Copy(models.Model):
    """One attempt at a part, on one device of one host; `done` counts its answered problems."""

    shard = models.ForeignKey(Shard, on_delete=models.CASCADE, related_name="copies")
    number = models.IntegerField()
    host = models.CharField(max_length=200)
    device = models.CharField(max_length=200)
    done = models.IntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["shard", "number"], name="one_row_per_copy")]
        indexes = [
            # Every sweep asks for lost copies; almost all rows are of copies that have ended.
            models.Index(
                fields=["heartbeat_at"], name="copies_at_work", condition=models.Q(ended_at=None)
            )
        ]

    @property
    def allocation_key(self) -> str:
        """Its key in `Device.allocated_to`."""
        return f"shard/{self.shard_id}/{self.number}"
