"""A teacher whose scores of given answers are in a file; its network is not needed."""

from __future__ import annotations

from typing import Literal

from trainer.spec.base import DataURI, Section, option


class ScoresTeacher(Section):
    """A file of a teacher's scores of given answers, from a job of the kind teacher scores.

    Stages learn from the worked solutions that it has scored, at temperature 1 and over its
    likeliest tokens. Its context and prompt are those of the job.
    """

    kind: Literal["scores"] = "scores"
    path: DataURI = option(
        title="Scores",
        help="The Parquet file of the job: `dataset:<name>@<fingerprint>` or `file:<path>`.",
    )
