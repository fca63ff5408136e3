"""The documents in `docs/`, to be read on the site that they are about."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

FOLDER: Path = settings.BASE_DIR / "docs"
GROUPS: dict[str, tuple[str, ...]] = {
    "Start": ("sample-run", "configuring-a-run", "reading-a-run"),
    "Data and teachers": ("data", "teachers", "jobs", "rollouts"),
    "Together": ("teams-and-sharing", "logging-from-elsewhere"),
    "Running it": ("running", "operations", "dispatch", "several-processes", "faults"),
    "Measured": ("performance", "scale", "results/README"),
    "How it is built": (
        "engine",
        "run-definition",
        "events",
        "server",
        "live-protocol",
        "add-a-method",
        "dependencies",
    ),
}
"""The documents by what a person wants of them. Reports hang below the results; whatever stands
nowhere comes last.
"""
SERVED = ("images/", "results/")
"""Folders whose pictures and figures come from the static files."""


@require_safe
def manual(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "manual/list.html",
        {
            "groups": [
                (title, [(name, title_of(name)) for name in found]) for title, found in grouped()
            ]
        },
    )


@require_safe
def manual_page(request: HttpRequest, name: str) -> HttpResponse:
    if name not in names():
        raise Http404("no such document")
    return render(request, "manual/page.html", {"title": title_of(name), "text": as_html(name)})


def names() -> list[str]:
    """Every document by its path in `docs/` without the ending, such as `data` or
    `results/paced/report`.
    """
    return sorted(
        path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.md")
    )


def grouped() -> list[tuple[str, list[str]]]:
    """Titles of groups, with the documents of each."""
    left = names()
    found = []
    for title, wanted in GROUPS.items():
        group = [name for name in wanted if name in left]
        if "results/README" in group:
            group += [name for name in left if name.startswith("results/") and name not in group]
        left = [name for name in left if name not in group]
        found.append((title, group))
    return [*found, ("More", left)] if left else found


@cache
def title_of(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


@cache
def as_html(name: str) -> SafeString:
    """The document as HTML. It is part of the program, so what it holds is trusted."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = reader.parse((FOLDER / f"{name}.md").read_text(encoding="utf-8"))
    for token in _all(tokens):
        _lead_on_the_site(token, posixpath.dirname(name))
    return mark_safe(reader.renderer.render(list(_framed(tokens)), reader.options, {}))


def _all(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or [])


def _lead_on_the_site(token: Token, folder: str) -> None:
    """Links and pictures are relative to the document's folder: a document leads to its page, the
    rest to the static files.
    """
    for attribute in ("href", "src"):
        address = str(token.attrGet(attribute) or "")
        if address and "://" not in address:
            token.attrSet(
                attribute, _on_the_site(posixpath.normpath(posixpath.join(folder, address)))
            )


def _on_the_site(path: str) -> str:
    """The address of a path in `docs/`; the list of documents for what the site does not show."""
    if path.endswith(".md") and path.removesuffix(".md") in names():
        return reverse("manual_page", args=[path.removesuffix(".md")])
    return (
        static(f"docs/{path}")
        if path.startswith(SERVED) and (FOLDER / path).is_file()
        else reverse("manual")
    )


def _framed(tokens: list[Token]) -> Iterator[Token]:
    """Tables and code may be wider than the page: each scrolls by itself, by keyboard too."""
    count = 0
    for token in tokens:
        if token.type == "table_open":
            count += 1
            yield _html(
                f'<div class="table-wrap" tabindex="0" role="region" aria-label="Table {count}">'
            )
            token.attrSet("class", "table")
        if token.type in ("fence", "code_block"):
            count += 1
            yield _html(
                f'<div class="code-wrap" tabindex="0" role="region" aria-label="Code {count}">'
            )
        yield token
        if token.type in ("table_close", "fence", "code_block"):
            yield _html("</div>")


def _html(content: str) -> Token:
    return Token("html_block", "", 0, content=content)
