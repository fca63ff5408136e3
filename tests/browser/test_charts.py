"""Charts in a browser: any values and steps, and nothing in a chart that moves the page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import transaction
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, WIDE
from tests.browser.test_run_page import expect_points, finished, url_of  # noqa: F401
from tests.shared_cases import case
from webapp.access.models import Team, User
from webapp.clients import runs, summary
from webapp.clients.client_batch import ClientBatch, LoggedValues, RunPublicId
from webapp.clients.record import record
from webapp.runs.models import Run

# Counts the pixels of a canvas that are not of its background, grid or text: the curve's colour.
CURVE_PIXELS = """
figure => {
  const colour = getComputedStyle(document.documentElement).getPropertyValue('--series-1').trim();
  const wanted = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
  const canvas = figure.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const columns = new Set();
  for (let i = 0; i < data.length; i += 4)
    if (wanted.every((value, channel) => Math.abs(data[i + channel] - value) < 40))
      columns.add((i / 4) % canvas.width);
  return columns.size / canvas.width;
}
"""


def log(run: Run, series: dict[str, list[tuple[int, float]]]) -> None:
    logs = [
        LoggedValues({key: float(value)}, step, 1.7e9 + step % 100_000)
        for key, points in series.items()
        for step, value in points
    ]
    with transaction.atomic():
        record({run.pk: [ClientBatch(RunPublicId(run.team_id, run.public_id), logs)]})
    summary.refresh(run.pk)


@pytest.fixture
def logged(still: Team, alice: User) -> Run:
    return runs.create(runs.project(still, "charts"), alice, "trackio", "charts", "key")
