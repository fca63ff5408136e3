"""The root of all addresses. Every one of them stands in the access table of the tests."""

from __future__ import annotations

from django.urls import include, path

from webapp import health, manual, prometheus

handler400 = "webapp.errors.bad_request"
handler403 = "webapp.errors.forbidden"
handler404 = "webapp.errors.not_found"
handler500 = "webapp.errors.server_error"

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", prometheus.metrics, name="metrics"),
    path("docs/", manual.manual, name="manual"),
    path("docs/<path:name>/", manual.manual_page, name="manual_page"),
    path("", include("webapp.teams.urls")),
    path("", include("webapp.sharing.urls")),
    path("", include("webapp.jobs.urls")),
    path("", include("webapp.runs.urls_setup")),
    path("", include("webapp.nodes.urls")),
    path("", include("webapp.runs.urls")),
]
