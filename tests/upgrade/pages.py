"""A visitor who follows the links of the pages, as a person with a browser does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import parse_qs, urldefrag, urljoin, urlsplit

from asgiref.sync import async_to_sync
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import Client

ADDRESS_ATTRIBUTES = {"href", "src", "hx-get"}
REDIRECTS = {301, 302, 303, 307, 308}


class Reader(HTMLParser):
    """Collects the addresses that a page leads to by GET, its text and its attribute values."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""
        self.values: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.links += [attributes[name] for name in ADDRESS_ATTRIBUTES & attributes.keys()]
        for value in attributes.values():
            self.values.update(value.split())

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def content_of(response: HttpResponseBase) -> bytes:
    """All of an answer. One that is streamed asynchronously is collected in this thread."""
    if not isinstance(response, StreamingHttpResponse):
        return bytes(response.content)  # type: ignore[attr-defined]
    blocks = response.streaming_content

    async def collect(blocks: AsyncIterator[bytes]) -> bytes:
        return b"".join([block async for block in blocks])

    if isinstance(blocks, AsyncIterator):
        return async_to_sync(collect)(blocks)
    return b"".join(blocks)


def read_page(response: HttpResponseBase) -> Reader:
    return Reader(content_of(response).decode())


def crawl(
    client: Client, start: str, should_visit: Callable[[str], bool]
) -> dict[str, tuple[int, str]]:
    """Status and, of a redirect, target of every address that links lead to from `start`.

    Answers are read to their end: an error in the middle of a stream is raised here.
    """
    visited: dict[str, tuple[int, str]] = {}
    waiting, known_addresses = [start], {start}
    while waiting:
        address = waiting.pop()
        response = client.get(address)
        target = response.headers.get("Location", "")
        visited[address] = (response.status_code, target)
        links = [target] if response.status_code in REDIRECTS else list(_links(response))
        for link in links:
            absolute = urldefrag(urljoin(address, link)).url
            if absolute not in known_addresses and _is_local(absolute) and should_visit(absolute):
                waiting.append(absolute)
            known_addresses.add(absolute)
    return visited


class Sample:
    """Says yes to the first `limit` addresses of each kind: alike but for numbers and values."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counts: Counter[tuple[str, ...]] = Counter()

    def __call__(self, address: str) -> bool:
        url = urlsplit(address)
        kind = re.sub(r"/\d+(?=/)", "/N", url.path)
        key = (kind, *sorted(parse_qs(url.query)))
        self.counts[key] += 1
        return self.counts[key] <= self.limit


def _links(response: HttpResponseBase) -> Iterator[str]:
    if response.headers.get("Content-Type", "").startswith("text/html"):
        yield from read_page(response).links
    else:
        content_of(response)


def _is_local(address: str) -> bool:
    url = urlsplit(address)
    return not url.scheme and not url.netloc and not url.path.startswith("/static/")
