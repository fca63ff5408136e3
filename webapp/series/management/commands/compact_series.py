"""Compacts the series of finished runs, as the hourly sweep does."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from webapp.series import series_store


class Command(BaseCommand):
    help = (
        "Compact the series of finished runs, and drop single points that are older than "
        "STILLROOM_RAW_DAYS."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Compacted the series of {series_store.compact_finished()} runs.")
