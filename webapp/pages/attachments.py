"""Files that are streamed to the browser while they are made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse


def attachment(
    chunks: Iterator[str] | Iterator[bytes], filename: str, content_type: str
) -> StreamingHttpResponse:
    """Return a response that the browser saves as `filename`."""

    async def stream() -> AsyncIterator[str | bytes]:
        # Making a chunk reads the database or files, which blocks, so a worker thread does it and
        # not the event loop. StopIteration cannot pass through a coroutine: None marks the end.
        while (chunk := await sync_to_async(lambda: next(chunks, None))()) is not None:
            yield chunk

    response = StreamingHttpResponse(stream(), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
