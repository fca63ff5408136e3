"""The root of all addresses. Every one of them stands in the access table of the tests."""

from __future__ import annotations

from django.urls import include, path

from webapp import health

handler400 = "webapp.errors.bad_request"
handler403 = "webapp.errors.forbidden"
handler404 = "webapp.errors.not_found"
handler500 = "webapp.errors.server_error"

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("", include("webapp.teams.urls")),
    path("", include("webapp.sharing.urls")),
    path("", include("webapp.runs.urls_setup")),
    path("", include("webapp.runs.urls")),
]
