"""Links that show one run or one comparison to someone without an account."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from webapp.access.models import Team
from webapp.comparisons.models import SavedComparison
from webapp.runs.models import Run


class ShareLink(models.Model):
    """Read-only, revocable, expiring; the token itself is shown once and only its digest kept.

    It shows either a run or a comparison.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE)
    run = models.ForeignKey(Run, null=True, on_delete=models.CASCADE)
    comparison = models.ForeignKey(SavedComparison, null=True, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(run=None, comparison__isnull=False)
                | models.Q(run__isnull=False, comparison=None),
                name="link_shows_one_thing",
            )
        ]
