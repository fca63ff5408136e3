"""Links that show one run to someone without an account."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from webapp.runs.models import Run


class ShareLink(models.Model):
    """Read-only, revocable, expiring; the token itself is shown once and only its digest kept."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
