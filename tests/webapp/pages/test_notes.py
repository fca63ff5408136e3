"""Renaming, and notes in Markdown: editing, preview, conflicts, and that no note harms a reader."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from webapp.access.models import User
from webapp.pages.markdown import first_line, notes_html
from webapp.runs import edits
from webapp.runs.models import Run
from webapp.sharing import links


def text_of(client: Client, path: str) -> str:
    return html.unescape(client.get(path).content.decode())


def digest_in(page: str) -> str:
    found = re.search(r'name="before" value="(\w+)"', page)
    assert found is not None
    return found[1]


def test_an_editor_renames_a_run_and_a_viewer_does_not(
    client: Client, run: Run, erin: User, bob: User
) -> None:
    address = f"/runs/{run.public_id}/rename/"
    client.force_login(bob)
    assert client.post(address, {"name": "mine"}).status_code == 403
    assert "Rename" not in text_of(client, f"/runs/{run.public_id}/")
    client.force_login(erin)
    form = {"name": "<b>better</b>", "next": f"/runs/{run.public_id}/log/"}
    assert client.post(address, form)["Location"] == form["next"]
    assert "<h1>&lt;b&gt;better" in client.get(f"/runs/{run.public_id}/").content.decode()
    page = client.post(address, {"name": " "}, follow=True).content.decode()
    assert "A run needs a name." in page


def test_notes_are_written_previewed_and_shown(client: Client, run: Run, erin: User) -> None:
    client.force_login(erin)
    address = f"/runs/{run.public_id}/notes/"
    before = digest_in(text_of(client, address))
    form = {"notes": "# Why\n\n*lr* was too high", "before": before}
    page = client.post(address, {**form, "preview": "1"}).content.decode()
    assert "<h2>Why</h2>" in page and digest_in(page) == before
    run.refresh_from_db()
    assert run.notes == ""
    page = client.post(address, form, follow=True).content.decode()
    assert "<details open>" in page and "<em>lr</em> was too high" in page
    assert '<span class="muted">Why</span>' in page


def test_notes_that_changed_in_between_are_shown_beside_ones_own(
    client: Client, run: Run, erin: User, alice: User
) -> None:
    client.force_login(erin)
    address = f"/runs/{run.public_id}/notes/"
    before = digest_in(text_of(client, address))
    edits.carry_out_one(edits.write_notes("Alice was here", before), run, alice)
    page = client.post(address, {"notes": "Erin too", "before": before}).content.decode()
    assert "Somebody else changed these notes" in page
    assert "Alice was here" in page and "Erin too" in page
    form = {"notes": "Erin too", "before": digest_in(page)}
    client.post(address, form)
    run.refresh_from_db()
    assert run.notes == "Erin too"


def test_notes_that_are_too_long_are_kept_in_the_form(client: Client, run: Run, erin: User) -> None:
    client.force_login(erin)
    address = f"/runs/{run.public_id}/notes/"
    form = {"notes": "long " * 4001, "before": digest_in(text_of(client, address))}
    page = client.post(address, form).content.decode()
    assert "Notes have up to 20,000 characters" in page and "long long" in page


def test_a_guest_sees_the_tags_but_not_the_notes(client: Client, run: Run, alice: User) -> None:
    Run.objects.update(notes="between us", tags=["ablation"])
    edits.carry_out_one(edits.rename("new name"), run, alice)
    client.get(f"/s/{links.share(run, alice, timedelta(days=1))}/")
    assert "Renamed" not in text_of(client, f"/runs/{run.public_id}/log/")
    page = text_of(client, f"/runs/{run.public_id}/")
    assert "ablation" in page and "between us" not in page and "Remove the tag" not in page


def test_tags_are_suggested_to_the_team(client: Client, run: Run, bob: User, charlie: User) -> None:
    Run.objects.update(tags=["ablation"])
    client.force_login(bob)
    assert '<option value="ablation">' in client.get("/runs/tags/").content.decode()
    client.force_login(charlie)
    assert "ablation" not in client.get("/runs/tags/").content.decode()


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](&#106;avascript:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "[a](vbscript:x)",
        '[a](/x "title\\" onclick=alert(1) \\"")',
        "<javascript:alert(1)>",
        "![a](https://evil.example/pixel.png)",
        "![a][1]\n\n[1]: https://evil.example/pixel.png",
        '```"><script>alert(1)</script>\nx\n```',
        "[a]: javascript:alert(1)\n\n[a]",
    ],
)
def test_no_note_runs_a_script_or_loads_a_picture(attack: str) -> None:
    check(notes_html(attack))


@given(st.text(alphabet="<>[]()!\"'`*_#|-:/\\ \najx=&;", max_size=80))
def test_no_text_gives_unknown_elements_or_attributes(notes: str) -> None:
    check(notes_html(notes))
    assert "\n" not in first_line(notes)


def test_headings_begin_below_that_of_the_page_and_skip_no_level() -> None:
    text = notes_html("### A\n\n###### B\n\n#### C\n\n# D\n\n## E\n\n### F")
    assert re.findall(r"<(h\d)>", text) == ["h2", "h3", "h3", "h2", "h3", "h4"]
    assert re.findall(r"</(h\d)>", text) == ["h2", "h3", "h3", "h2", "h3", "h4"]


def test_links_do_not_say_where_a_reader_came_from() -> None:
    assert notes_html("[c](https://c.example)") == (
        '<p><a href="https://c.example" rel="noopener noreferrer nofollow">c</a></p>\n'
    )


def test_tables_and_code_scroll_in_boxes() -> None:
    text = notes_html("| a | b |\n|---|--:|\n| 1 | 2 |\n\n```\ncode\n```")
    assert text.count('tabindex="0"') == 2
    assert '<td>1</td>\n<td class="number">2</td>' in text


class Elements(HTMLParser):
    """Collects the start tags of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


ALLOWED = {
    "a": {"href", "rel", "title"},
    "div": {"class", "tabindex", "role", "aria-label"},
    "table": {"class"},
    "code": {"class"},
    "ol": {"start"},
    "th": {"class"},
    "td": {"class"},
}
# Elements without attributes.
PLAIN = {
    *("p", "em", "strong", "s", "pre", "blockquote", "ul", "li", "hr", "br"),
    *("thead", "tbody", "tr", "h2", "h3", "h4", "h5", "h6"),
}


def check(text: str) -> None:
    elements = Elements()
    elements.feed(text)
    for tag, attributes in elements.found:
        assert tag in ALLOWED or tag in PLAIN, tag
        # The content security policy allows no style attribute either.
        assert set(attributes) <= ALLOWED.get(tag, set()), (tag, attributes)
        address = (attributes.get("href") or "").strip().lower()
        assert not re.match(r"(javascript|vbscript|file|data):", address)
