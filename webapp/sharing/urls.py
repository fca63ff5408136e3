"""Addresses of shared runs."""

from __future__ import annotations

from django.urls import path

from webapp.sharing import views

urlpatterns = [
    path("s/<str:token>/", views.shared, name="shared"),
    path("runs/<str:run_id>/share/", views.share, name="share"),
    path("runs/<str:run_id>/share/<int:link_id>/revoke/", views.revoke, name="revoke_share"),
]
