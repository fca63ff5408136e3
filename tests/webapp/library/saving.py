"""Saving of a mapped file in a test: the file is read as the web server's thread reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.test import Client

from webapp.library import data_readings
from webapp.library.models import DataReading


def save(client: Client, form: Mapping[str, str]) -> Any:
    """Send a mapping; the answer of the page of its reading when the file has been read."""
    answer = client.post("/data/new/", {"same_name": "yes", **form})
    if answer.status_code == 302:
        data_readings.execute(DataReading.objects.get(ended_at=None))
        answer = client.get(str(answer["Location"]))
    return answer
