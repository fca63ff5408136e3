"""Whether this process can answer: asked by the launcher and by load balancers."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 if Postgres answers, else 503. Redis is a doorbell: without it pages are only slower to follow."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"ok": False, "message": "Postgres does not answer"}, status=503)
    return JsonResponse({"ok": True})
