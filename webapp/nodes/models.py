"""The machines of the installation and their devices: allocated to one run or shard, or free."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from webapp.access.models import Team


class Node(models.Model):
    """A machine that executes runs.

    It is alive while its heartbeat is fresh, by the clock of the database.
    """

    name = models.CharField(max_length=200, unique=True)
    address = models.CharField(max_length=255)
    version = models.CharField(max_length=40, blank=True)
    cpus = models.IntegerField()
    memory_bytes = models.BigIntegerField()
    draining = models.BooleanField(default=False)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class Kind(models.TextChoices):
    """A slot for one process on the CPU, or a GPU."""

    CPU = "cpu"
    CUDA = "cuda"


class Device(models.Model):
    """A GPU or CPU slot of a machine.

    `allocated_to` is a key of `allocation_keys`, such as `run/<public id>/<attempt>`; empty if the
    device is free. `team` owns that run or job. A device that the machine no longer has is
    `retired` and is never allocated again.
    """

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="devices")
    kind = models.CharField(max_length=4, choices=Kind)
    index = models.IntegerField()
    name = models.CharField(max_length=120, blank=True)
    memory_bytes = models.BigIntegerField(null=True)
    retired = models.BooleanField(default=False)
    # No foreign key, because this package does not import jobs. The attempt is part of the key, so
    # that the supervisor of an old attempt cannot release the devices of a newer one.
    allocated_to = models.CharField(max_length=200, blank=True)
    allocated_since = models.DateTimeField(null=True)
    team = models.ForeignKey(Team, null=True, on_delete=models.SET_NULL)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node", "kind", "index"], name="one_row_per_device")
        ]
        indexes = [
            models.Index(
                fields=["allocated_to"], name="held_devices", condition=~models.Q(allocated_to="")
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.index} of {self.node}"
