"""What a team uploads: files in the artifact store, data sets and model folders.

The tables belong to the app `runs`, whose migrations created them.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from webapp.access.models import Team


class Artifact(models.Model):
    """A file in the artifact store, named by the SHA-256 of its content.

    Each team has its own row, so that sharing bytes gives no access.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    media_type = models.CharField(max_length=100, default="application/octet-stream")
    stored_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "runs"
        constraints = [
            models.UniqueConstraint(
                fields=["team", "sha256"], name="one_artifact_per_team_and_content"
            )
        ]


class DataSet(models.Model):
    """A data file with its column mapping.

    A held-out set (`is_held_out`) is measured on and never trained on. `made_from` is the data set
    that it, or the rest of the problems beside it, was taken from.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    name = models.SlugField(max_length=80)
    # Protected, so that the database refuses if the readers of `artifacts.collect` miss a file.
    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT)
    fingerprint = models.CharField(max_length=64)
    filename = models.CharField(max_length=255)
    format = models.CharField(max_length=10)
    columns = models.JSONField(default=dict)
    verifier = models.JSONField(default=dict)
    # What `ReferenceCheck` counted when it was saved; empty for data sets saved before.
    references = models.JSONField(default=dict)
    problem_count = models.IntegerField()
    # {rows, left_out: [{reason, count, rows}], notes}; empty for data sets of earlier versions.
    survey = models.JSONField(default=dict)
    is_held_out = models.BooleanField(default=False)
    made_from = models.ForeignKey("self", null=True, on_delete=models.SET_NULL)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "runs"
        constraints = [
            models.UniqueConstraint(
                fields=["team", "name", "fingerprint"], name="one_data_set_per_content"
            )
        ]


class DataReading(models.Model):
    """A mapped file whose rows are read; it ends with a data set or with a problem.

    With `held_out` problems of the data set `source` are held out first, into a data set of this
    name: {"questions", "seed", "training": name of the data set of the other problems}.
    `count` is the number of problems, 0 as long as it is not known. The process that reads it
    renews `heartbeat_at`.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    name = models.SlugField(max_length=80)
    # It goes with its file: `artifacts.collect` keeps the files of unfinished readings only.
    artifact = models.ForeignKey(Artifact, on_delete=models.CASCADE)
    filename = models.CharField(max_length=255)
    columns = models.JSONField()
    verifier = models.JSONField()
    held_out = models.JSONField(null=True)
    source = models.ForeignKey(DataSet, null=True, related_name="+", on_delete=models.CASCADE)
    rows = models.BigIntegerField(default=0)
    references = models.BigIntegerField(default=0)
    count = models.BigIntegerField(default=0)
    problem = models.TextField(blank=True)
    data_set = models.ForeignKey(DataSet, null=True, on_delete=models.SET_NULL)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "runs"
        indexes = [
            models.Index(
                fields=["created_at"], name="unfinished_readings", condition=models.Q(ended_at=None)
            )
        ]


class StoredModel(models.Model):
    """An uploaded model folder: the manifest maps file names to artifact hashes."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    name = models.SlugField(max_length=80)
    hash = models.CharField(max_length=64)
    # No foreign keys: only `uploads.referenced_artifacts` keeps these files from `collect`.
    manifest = models.JSONField()
    architecture = models.CharField(max_length=80, blank=True)
    parameters = models.BigIntegerField(null=True)
    # The fields of `ModelFacts`; empty for models of earlier versions, until somebody sees them.
    facts = models.JSONField(default=dict)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "runs"
        constraints = [
            models.UniqueConstraint(fields=["team", "name", "hash"], name="one_model_per_content")
        ]
