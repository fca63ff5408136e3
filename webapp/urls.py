"""The root of all URLs. The access table of the tests lists every one of them."""

from __future__ import annotations

from django.urls import include, path

from webapp.pages.site import health, manual, prometheus

handler400 = "webapp.pages.site.errors.bad_request"
handler403 = "webapp.pages.site.errors.forbidden"
handler404 = "webapp.pages.site.errors.not_found"
handler500 = "webapp.pages.site.errors.server_error"

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", prometheus.metrics, name="metrics"),
    path("docs/", manual.manual, name="manual"),
    path("docs/<path:name>/", manual.manual_page, name="manual_page"),
    path("", include("webapp.pages.teams.urls")),
    path("", include("webapp.pages.sharing.urls")),
    path("", include("webapp.pages.jobs.urls")),
    path("", include("webapp.pages.experiments.urls")),
    path("", include("webapp.pages.library.urls")),
    path("", include("webapp.pages.machines.urls")),
    path("", include("webapp.pages.compare.urls")),
    path("", include("webapp.pages.runs.urls")),
]
