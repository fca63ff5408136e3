"""The documents in `docs/` as pages of the site."""

from __future__ import annotations

import posixpath
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

from webapp.pages.markdown import with_scroll_boxes

FOLDER: Path = settings.BASE_DIR / "docs"
# The same groups as in docs/README.md, the index on other sites. Reports are listed after the
# results; documents in no group come last.
GROUPS: dict[str, tuple[str, ...]] = {
    "For users": (
        "sample-run",
        "configuring-a-run",
        "preflight",
        "run-definition",
        "finding-runs",
        "reading-a-run",
        "experiments",
        "data",
        "teachers",
        "rollouts",
        "jobs",
        "logging-from-elsewhere",
        "teams-and-sharing",
        "results/README",
    ),
    "For operators": (
        "running",
        "operations",
        "several-processes",
        "dispatch",
        "faults",
        "performance",
        "scale",
    ),
    "For developers": (
        "engine",
        "add-a-method",
        "events",
        "server",
        "live-protocol",
        "dependencies",
    ),
}
# Folders whose pictures and figures are served as static files.
STATIC_FOLDERS = ("images/", "results/")


@require_safe
def manual(request: HttpRequest) -> HttpResponse:
    groups = [(title, [(name, title_of(name)) for name in group]) for title, group in grouped()]
    return render(request, "manual/list.html", {"groups": groups})


@require_safe
def manual_page(request: HttpRequest, name: str) -> HttpResponse:
    if name not in names():
        raise Http404("no such document")
    return render(request, "manual/page.html", {"title": title_of(name), "text": as_html(name)})


def names() -> list[str]:
    """Return every document's path in `docs/` without `.md`: `data`, `results/paced/report`.

    The index docs/README.md is left out: on the site, the list of documents takes its place.
    """
    paths = (path.relative_to(FOLDER) for path in FOLDER.rglob("*.md"))
    return sorted(path.with_suffix("").as_posix() for path in paths if str(path) != "README.md")


def grouped() -> list[tuple[str, list[str]]]:
    """Return the groups with the documents of each; documents in no group are under "More"."""
    remaining = names()
    groups = []
    for title, listed in GROUPS.items():
        group = [name for name in listed if name in remaining]
        if "results/README" in group:
            group += [
                name for name in remaining if name.startswith("results/") and name not in group
            ]
        remaining = [name for name in remaining if name not in group]
        groups.append((title, group))
    return [*groups, ("More", remaining)] if remaining else groups


# The documents are part of the program and change only with it, so each is read and rendered once.
@cache
def title_of(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


@cache
def as_html(name: str) -> SafeString:
    """Return the document as HTML. It is part of the program, so HTML in it is trusted."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = reader.parse((FOLDER / f"{name}.md").read_text(encoding="utf-8"))
    _resolve_links(tokens, posixpath.dirname(name))
    return mark_safe(reader.renderer.render(list(with_scroll_boxes(tokens)), reader.options, {}))


def _resolve_links(tokens: list[Token], folder: str) -> None:
    """Replace links and image sources that are relative to the document's folder by site URLs."""
    for token in tokens:
        _resolve_links(token.children or [], folder)
        for attribute in ("href", "src"):
            target = str(token.attrGet(attribute) or "")
            if target and "://" not in target:
                path = posixpath.normpath(posixpath.join(folder, target))
                token.attrSet(attribute, _site_url(path))


def _site_url(path: str) -> str:
    """Return the URL of a path in `docs/`; the list of documents if the site does not show it."""
    if path.endswith(".md") and path.removesuffix(".md") in names():
        return reverse("manual_page", args=[path.removesuffix(".md")])
    if path.startswith(STATIC_FOLDERS) and (FOLDER / path).is_file():
        return static(f"docs/{path}")
    return reverse("manual")
