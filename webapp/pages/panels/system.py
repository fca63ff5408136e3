"""The System tab: where the time of a step goes, throughput, memory, and teachers on servers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from webapp.pages.panels.charts import MEMORY, THROUGHPUT, Chart, ChartLine
from webapp.runs.definitions import Definition, served_teachers

TIME = Chart(
    "time",
    "Time of a step",
    "share of each phase",
    (
        ChartLine("time_share/collect", "sampling and verdicts"),
        ChartLine("time_share/teacher", "reading of the teacher"),
        ChartLine("time_share/score", "scores of tokens"),
        ChartLine("time_share/student", "student's updates"),
        ChartLine("time_share/sync", "weights to the sampler"),
        ChartLine("time_share/other", "recording and the rest"),
    ),
    format="percent",
    stacked=True,
)
# What is measured of each teacher on a server: name in its key → (id, title, unit, format).
OF_TEACHERS = {
    "seconds": ("teacher-wait", "Waiting for teachers", "seconds in a step", "seconds"),
    "bytes_per_token": ("teacher-bytes", "Answers of teachers", "bytes per token read", "bytes"),
    "share": ("teacher-share", "Answers by teacher", "share of a step's answers", "percent"),
    "failures": ("teacher-failures", "Failed requests", "to servers of teachers", "count"),
    "unread": ("teacher-unread", "Answers without scores", "not trained on", "count"),
}
OF_A_TEACHER = re.compile(rf"teacher/(?P<name>.+)/(?P<figure>{'|'.join(OF_TEACHERS)})")


def charts(keys: Iterable[str], spec: Definition) -> list[Chart]:
    """Return the charts of a run with this definition, which has series of these keys so far."""
    lines: dict[str, list[ChartLine]] = {}
    # Before its first step a run has none of the series that its definition leads to.
    expected = {
        f"teacher/{name}/{figure}" for name in served_teachers(spec) for figure in OF_TEACHERS
    }
    for key in sorted({*keys, *expected}):
        if match := OF_A_TEACHER.fullmatch(key):
            lines.setdefault(match["figure"], []).append(ChartLine(key, match["name"]))
    return [
        TIME,
        THROUGHPUT,
        MEMORY,
        *(
            Chart(id, title, unit, tuple(lines[figure]), format)
            for figure, (id, title, unit, format) in OF_TEACHERS.items()
            if figure in lines
        ),
    ]
