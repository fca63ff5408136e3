"""Markdown as HTML: what people write, which nobody may trust, and what pages of docs share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

# The page that shows notes has an h1.
LOWEST_HEADING = 6
# CommonMark without raw HTML, which is shown as text, and without pictures: the pages' content
# security policy allows none from elsewhere. A picture becomes a link to it. markdown-it makes no
# links of javascript:, vbscript:, file: and data: addresses.
_notes = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_notes.disable("image")


# A page of a run is rendered anew for each person and after each change of the run.
@lru_cache(maxsize=256)
def notes_html(notes: str) -> SafeString:
    """Return notes that people wrote in Markdown as safe HTML."""
    tokens = _notes.parse(notes)
    _nest_headings(tokens)
    for token in tokens:
        # The policy allows no style attribute, by which markdown-it aligns cells.
        alignment = str(token.attrs.pop("style", ""))
        if "right" in alignment:
            token.attrSet("class", "number")
        for child in token.children or ():
            if child.type == "link_open":
                # Links of people say nothing about what this site recommends, and the page behind
                # them does not learn from where somebody came.
                child.attrSet("rel", "noopener noreferrer nofollow")
    return mark_safe(_notes.renderer.render(list(with_scroll_boxes(tokens)), _notes.options, {}))


def _nest_headings(tokens: Sequence[Token]) -> None:
    """Make headings start at h2 and skip no level, as the outline of a page must."""
    levels: list[str] = []
    for token in tokens:
        if token.type == "heading_open":
            levels = [level for level in levels if level < token.tag] + [token.tag]
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(LOWEST_HEADING, len(levels) + 1)}"


def first_line(notes: str) -> str:
    """Return the first line of notes as plain text."""
    inline = next((token for token in _notes.parse(notes) if token.type == "inline"), None)
    words = []
    for child in (inline and inline.children) or ():
        if child.type in ("softbreak", "hardbreak"):
            break
        words.append(child.content)
    return "".join(words) or notes.strip().partition("\n")[0]


def with_scroll_boxes(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens with a scrolling box around each table and code block.

    They may be wider than the page; `tabindex` lets the keyboard scroll them.
    """
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
