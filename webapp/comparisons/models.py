"""Comparisons that people have saved under a name."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from webapp.access.models import Team
from webapp.runs.models import Run, public_id


class SavedComparison(models.Model):
    """Runs of one team with the choices of their comparison, as in the query of its address."""

    public_id = models.CharField(max_length=16, unique=True, default=public_id)
    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    name = models.CharField(max_length=120)
    runs = models.ManyToManyField(Run, related_name="comparisons")
    choices = models.JSONField(default=dict)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["team", "-created_at"], name="comparisons_of_team")]

    def __str__(self) -> str:
        return self.name
