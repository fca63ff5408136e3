"""Django's name for this package: its tables and migrations keep the label `metrics`."""

from __future__ import annotations

from django.apps import AppConfig


class SeriesConfig(AppConfig):
    name = "webapp.series"
    label = "metrics"
