"""The stored checkpoints of a run, and their download as one streamed zip file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.library import artifacts
from webapp.pages.attachments import attachment
from webapp.pages.runs.run_page import render_tab, requested_run
from webapp.runs import branches
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
    rows = [
        (
            checkpoint,
            [(key, checkpoint.metrics[key]) for key in METRICS if key in checkpoint.metrics],
        )
        for checkpoint in newest_first
    ]
    # Each checkpoint marked `best` was the best when it was written: the newest of them still is.
    best = next((checkpoint.pk for checkpoint in newest_first if checkpoint.best), None)
    return render_tab(
        request, run, "checkpoints", "checkpoints.html", {"checkpoints": rows, "best": best}
    )


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
