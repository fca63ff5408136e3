"""The stored checkpoints of a run, and their download as one streamed zip file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.comparisons.answer_sources import ChosenColumn
from webapp.library import artifacts
from webapp.pages.attachments import attachment
from webapp.pages.compare.answer_links import address, kind_of_evaluation
from webapp.pages.runs.run_page import render_tab, requested_run
from webapp.runs import branches
from webapp.runs.kept_answers import keep_answers
from webapp.runs.models import Checkpoint, Run

CHUNK_BYTES = 2**20
# The metrics that the table shows, in this order, of those stored with a checkpoint.
METRICS = (
    "eval/pass_rate",
    "eval/common/pass_rate",
    "retained/pass_rate",
    "pass_rate/train",
    "loss",
    "divergence/mean",
    "entropy/mean",
)


@permissions.shown_to_guests
@require_safe
def checkpoints(request: HttpRequest, run_id: str) -> HttpResponse:
    run = requested_run(request, run_id)
    newest_first = run.checkpoints.filter(branches.on_live_branch(run)).order_by(
        "-step", "-attempt"
    )
    answers = _answers(run, [checkpoint.step for checkpoint in newest_first])
    rows = [
        (
            checkpoint,
            [(key, checkpoint.metrics[key]) for key in METRICS if key in checkpoint.metrics],
            answers.get(checkpoint.step, ""),
        )
        for checkpoint in newest_first
    ]
    # Each checkpoint marked `best` was the best when it was written: the newest of them still is.
    best = next((checkpoint.pk for checkpoint in newest_first if checkpoint.best), None)
    return render_tab(
        request, run, "checkpoints", "checkpoints.html", {"checkpoints": rows, "best": best}
    )


def _answers(run: Run, newest_first: Sequence[int]) -> dict[int, str]:
    """Return the address of the answers at each step whose evaluation stored some.

    They are beside those of the checkpoint before, if there are any.
    """
    live, steps = branches.on_live_branch(run), set(newest_first)
    rollouts = run.rollouts.filter(live, role="evaluation", step__in=steps)
    columns = {
        step: ChosenColumn(run.public_id, "evaluation", step)
        for step in rollouts.values_list("step", flat=True).distinct()
    }
    evaluations = list(
        run.evaluations.filter(live, role="evaluation", step__in=steps).select_related("run")
    )
    kept = keep_answers(evaluations)
    for evaluation in evaluations:
        if evaluation.pk in kept:
            kind = kind_of_evaluation(evaluation)
            own = columns.get(evaluation.step)
            # A job of the checkpoint was asked for later than the run's own evaluation.
            if own is None or kind == "job":
                columns[evaluation.step] = ChosenColumn(run.public_id, kind, evaluation.step)
    answered = [step for step in dict.fromkeys(newest_first) if step in columns]
    return {
        step: address([*(columns[before] for before in answered[i + 1 : i + 2]), columns[step]])
        for i, step in enumerate(answered)
    }


@require_safe
def download(request: HttpRequest, run_id: str, step: int) -> StreamingHttpResponse:
    run = requested_run(request, run_id, "download")
    checkpoint = (
        run.checkpoints.filter(branches.on_live_branch(run), step=step).order_by("-attempt").first()
    )
    if checkpoint is None:
        raise Http404("no such checkpoint")
    filename = f"{run.public_id}-step-{step}.zip"
    return attachment(zip_chunks(run, checkpoint), filename, "application/zip")


def zip_chunks(run: Run, checkpoint: Checkpoint) -> Iterator[bytes]:
    """Yield the bytes of a zip file with every file of the checkpoint.

    The files are stored uncompressed: weights do not compress.
    """
    buffer = ZipBuffer()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, entry in sorted(checkpoint.manifest.items()):
            with (
                artifacts.open(run.team, entry["sha256"]) as source,
                # The size is written behind the content and is not known here; a file of more than
                # 2 GiB without the zip64 header would fail at its end.
                archive.open(name, "w", force_zip64=True) as target,
            ):
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    yield buffer.take()
    yield buffer.take()


class ZipBuffer(io.RawIOBase):
    """A file that hands out what was written to it: this makes a stream of what `zipfile` writes.

    It cannot seek, so `zipfile` writes sizes and checksums behind each file.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(memoryview(data))  # type: ignore[arg-type]
        self._pending += chunk
        return len(chunk)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        chunk = bytes(self._pending)
        self._pending.clear()
        return chunk
