"""Where a run is prepared: the form, data sets, models and recipes."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
