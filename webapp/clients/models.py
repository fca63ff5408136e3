"""Tables of runs that were logged by clients or imported from files."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.utils import timezone

from webapp.access.models import Team
from webapp.library.models import Artifact
from webapp.runs.models import Run


class Project(models.Model):
    """A group of runs: Trackio's project, MLflow's experiment.

    `archived_at` is set while it is deleted for clients; its runs are archived with it.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    name = models.CharField(max_length=500)
    tags = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="one_project_per_name")
        ]


class Origin(models.Model):
    """Where a run without a definition comes from; `key` identifies it in the client.

    `name` is the run's name in the client, which may be longer than that of the run, and stays when
    a person renames the run here. `not_kept` lists keys whose values are not numbers. `resuming` is
    set when a client process resumes the run, until the first values of its series tell at which
    step. `resumed_keys` are the series whose first values have come since then.
    """

    run = models.OneToOneField(
        Run, primary_key=True, on_delete=models.CASCADE, related_name="origin"
    )
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="origins")
    client = models.CharField(max_length=16)
    key = models.CharField(max_length=250)
    name = models.CharField(max_length=2000, default="")
    params = models.JSONField(default=dict)
    tags = models.JSONField(default=dict)
    inputs = models.JSONField(default=list)
    not_kept = models.JSONField(default=list)
    resuming = models.BooleanField(default=False)
    resumed_keys = models.JSONField(default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "client", "key"], name="one_run_per_client_key"
            )
        ]

    @property
    def is_archived(self) -> bool:
        """Return whether the run is deleted for its client: archived, or with its project."""
        return self.run.archived_at is not None or self.project.archived_at is not None


class RunFile(models.Model):
    """A file of a run by its path in it, such as `tables/eval.json`; its bytes are an artifact.

    `key` is the name under which a client logged an image or a table. Without an artifact only that
    name has come so far: clients send it in another request than the file.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="files", db_index=False)
    path = models.CharField(max_length=500)
    # Protected, so that the database refuses if the reader of `artifacts.collect` misses a file.
    artifact = models.ForeignKey(Artifact, null=True, on_delete=models.PROTECT)
    key = models.CharField(max_length=250, default="")
    caption = models.CharField(max_length=500, default="")
    step = models.BigIntegerField(null=True)
    logged_at = models.DateTimeField(default=timezone.now)

    class Meta:
        # It begins with the run, so that it serves as the index of this column.
        constraints = [models.UniqueConstraint(fields=["run", "path"], name="one_file_per_path")]


class ImportedFile(models.Model):
    """How far a file was imported into a run: everything before byte `done` is recorded.

    `head` is a digest of all its `size` bytes. `has_grown`: it was imported again with more bytes,
    and has another row for these. Without a `size` the row is of an earlier version: `head` is then
    a digest of the start of the file.
    """

    pk = models.CompositePrimaryKey("run_id", "head")
    # The primary key begins with the run, so that it serves as the index of this column.
    run = models.ForeignKey(Run, on_delete=models.CASCADE, db_index=False)
    head = models.UUIDField()
    size = models.BigIntegerField(null=True)
    done = models.BigIntegerField(default=0)
    has_grown = models.BooleanField(default=False)


class RunImport(models.Model):
    """Uploaded files whose runs are imported, see `run_imports`.

    `files` are their names. `results` are [public id of a run, how many values it got]. `problem`
    is why the import ended early; the results before it count.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    format = models.CharField(max_length=16)
    project = models.CharField(max_length=200)
    files = models.JSONField()
    progress = models.TextField(blank=True)
    results = models.JSONField(default=list)
    problem = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["created_at"], name="unfinished_imports", condition=models.Q(ended_at=None)
            )
        ]


class Receipt(models.Model):
    """Marks a client's log as received, so that it counts once; deleted after `receipts.KEPT`."""

    pk = models.CompositePrimaryKey("run_id", "log")
    run = models.ForeignKey(Run, on_delete=models.CASCADE)
    log = models.UUIDField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        # Receipts are inserted in order of time, so that a block range index finds the old ones; a
        # B-tree would grow by an entry with every log of every client.
        indexes = [BrinIndex(fields=["at"], name="receipts_by_age", autosummarize=True)]
