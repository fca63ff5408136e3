"""Preflights: checks of a definition's tokenizers, problems and verifier, which a worker makes."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from webapp.access.models import Team


class Preflight(models.Model):
    """A check of one team's definition.

    It waits until `claimed_at`, runs until `finished_at`, and then has its `report`
    (`trainer.text.preflight.findings`). `fingerprint` is of everything that the answer depends on,
    so that the same question is asked once.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    fingerprint = models.CharField(max_length=64)
    spec = models.JSONField()
    requested_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    report = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "fingerprint"], name="one_preflight_per_definition"
            )
        ]
        indexes = [
            models.Index(
                fields=["-requested_at"],
                name="waiting_preflights",
                condition=models.Q(claimed_at=None),
            )
        ]
