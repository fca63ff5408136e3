"""What each teacher of a run contributes to a step, where a teacher is on servers.

`teacher/<name>/…`, the main one is called `main` and a specialist after its domains: the share of
rows; the divergence to it, or the mean log-ratio to the student where none is computed; seconds
that the step has waited for it, failed requests, rows without scores, and bytes per scored token.
Of a run on several processes the last four are those of the process that logs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainer.text.lm_head.linear_divergence import TokenStatistics
from trainer.text.teachers.loading import MAIN, Teachers
from trainer.text.teachers.served.requests import Traffic
from trainer.text.teachers.served.served_view import ServedView
from trainer.text.training.update import TrainRound

LONGEST_NAME = 60


@dataclass
class TeacherMetrics:
    """Metrics of each step; remembers what the requests before it had cost."""

    teachers: Teachers
    before: dict[str, Traffic] = field(default_factory=dict)

    def of_step(
        self, round: TrainRound, statistics: Mapping[int, TokenStatistics]
    ) -> dict[str, float]:
        """Return the metrics of a round; `statistics` are those of its rows, by their index."""
        if not self.teachers.served:
            return {}
        metrics: dict[str, float] = {}
        for view in self.teachers.views:
            values = _signal(view.name, round, statistics)
            if isinstance(view, ServedView):
                values |= self._traffic(view)
            metrics |= {
                f"teacher/{_key(view.name)}/{name}": value for name, value in values.items()
            }
        return metrics

    def _traffic(self, view: ServedView) -> dict[str, float]:
        now, before = view.traffic, self.before.get(view.name, Traffic())
        self.before[view.name] = replace(now)
        values = {
            "seconds": now.waited - before.waited,
            "failures": float(now.failures - before.failures),
            "unread": float(now.unread - before.unread),
        }
        if tokens := now.tokens - before.tokens:
            values["bytes_per_token"] = (now.bytes - before.bytes) / tokens
        return values


def _signal(
    name: str, round: TrainRound, statistics: Mapping[int, TokenStatistics]
) -> dict[str, float]:
    indices = [index for index, row in enumerate(round.rows) if row.teacher == name]
    values = {"share": len(indices) / max(len(round.rows), 1)}
    with_statistics = [index for index in indices if index in statistics]
    divergences = _known([statistics[index].divergence for index in with_statistics])
    ratios = _known(
        [
            round.states.logprobs(index) - statistics[index].student_logprob.cpu()
            for index in with_statistics
            if index in round.states.readings
        ]
    )
    if len(divergences):
        values["divergence"] = float(divergences.mean())
    elif len(ratios):
        values["log_ratio"] = float(ratios.mean())
    return values


def _known(rows: list[Tensor]) -> Tensor:
    values = torch.cat([row.double().cpu() for row in rows]) if rows else torch.empty(0)
    return values[~values.isnan()]


def _key(name: str) -> str:
    """Return the teacher's name as part of a metric's key."""
    if name == MAIN:
        return "main"
    return re.sub(r"[^\w.+-]+", "_", name.removeprefix("specialist "))[:LONGEST_NAME]
