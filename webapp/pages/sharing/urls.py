"""Addresses of shared runs."""

from __future__ import annotations

from django.urls import path

from webapp.pages.sharing import links

urlpatterns = [
    path("s/<str:token>/", links.shared, name="shared"),
    path("runs/<str:run_id>/share/", links.share, name="share"),
    path("runs/<str:run_id>/share/<int:link_id>/revoke/", links.revoke, name="revoke_share"),
]
