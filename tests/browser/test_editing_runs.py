"""Renaming, tagging, notes, archive and deletion in a browser, in place and with undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, has_sideways_scroll
from tests.webapp.recorded import SPEC, Recorder, recorded
from webapp.access.models import Team, User
from webapp.runs import edits, lifecycle
from webapp.runs.models import Run


@pytest.fixture
def finished(still: Team, alice: User, tmp_path: Path) -> Run:
    return recorded(still, alice, tmp_path)


def url_of(run: Run) -> str:
    return f"/runs/{run.public_id}/"


def test_a_run_is_renamed_tagged_and_archived_in_place_while_a_list_follows(
    page: Page, open_page: Callable[..., Page], bob: User, still: Team, finished: Run
) -> None:
    lifecycle.create_run(still, None, {**SPEC, "name": "other"}, tags=["ablation"])
    bobs = open_page(bob)
    bobs.goto("/")
    row = bobs.locator(f'tr[data-run="{finished.public_id}"]')
    expect(row).to_be_visible()
    page.goto(url_of(finished))
    page.evaluate("document.body.dataset.kept = 'yes'")
    page.get_by_text("Rename").click()
    name = page.get_by_role("textbox", name="Name")
    expect(name).to_be_focused()
    # The name is selected, so that typing replaces it.
    page.keyboard.type("lower rate")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="lower rate")).to_be_visible()
    expect(page).to_have_title("lower rate · Stillroom")
    expect(page.locator("#rename")).to_be_focused()
    expect(row).to_contain_text("lower rate")
    page.get_by_text("Add tag").click()
    expect(page.locator("#tag-names option")).to_have_attribute("value", "ablation")
    page.keyboard.type("ablation, lr-1e-4")
    page.keyboard.press("Enter")
    tags = page.get_by_role("list", name="Tags").get_by_role("listitem")
    expect(tags).to_have_count(2)
    expect(row).to_contain_text("lr-1e-4")
    page.get_by_role("button", name="Remove the tag ablation").click()
    expect(tags).to_have_count(1)
    page.get_by_label("More actions").click()
    page.get_by_role("button", name="Archive").click()
    expect(page.locator("#run-head .badge", has_text="archived")).to_be_visible()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#run-head .badge", has_text="archived")).to_have_count(0)
    expect(row).to_be_visible()
    finished.refresh_from_db()
    assert (finished.name, finished.tags) == ("lower rate", ["lr-1e-4"])


def test_notes_are_written_with_a_preview_without_leaving_the_page(
    page: Page, finished: Run, axe_violations: Callable[[Page], list[str]]
) -> None:
    page.goto(url_of(finished))
    page.evaluate("document.body.dataset.kept = 'yes'")
    page.get_by_role("link", name="Add notes").click()
    expect(page.get_by_label("Notes", exact=True)).to_be_focused()
    page.keyboard.type("Why\n---\n\n| lr | rate |\n|---|--:|\n| 1e-4 | 61 % |")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("region", name="Preview").get_by_role("cell").last).to_have_text("61 %")
    assert axe_violations(page) == []
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notes details table")).to_be_visible()
    assert page.locator("body").get_attribute("data-kept") == "yes"
    # Somebody else writes: what a reader has unfolded stays so.
    finished.refresh_from_db()
    change = edits.write_notes("Changed", edits.digest_of(finished.notes))
    edits.carry_out_one(change, finished, None)
    expect(page.locator("#notes .notes-text")).to_have_text("Changed")
    page.get_by_role("link", name="Edit notes").click()
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("#notes summary")).to_contain_text("Changed")
    assert page.locator("body").get_attribute("data-kept") == "yes"


def test_a_run_is_deleted_by_its_name_and_comes_back_by_undo_while_a_list_follows(
    page: Page, open_page: Callable[..., Page], bob: User, finished: Run
) -> None:
    bobs = open_page(bob)
    bobs.goto("/")
    row = f'tr[data-run="{finished.public_id}"]'
    expect(bobs.locator(row)).to_be_visible()
    page.goto(url_of(finished))
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Delete…").click()
    expect(page.get_by_text("This can be undone for a day.")).to_be_visible()
    page.get_by_label(f"Type “{finished.name}” to confirm").fill(finished.name)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text(f"“{finished.name}” is deleted.")).to_be_visible()
    expect(page.locator(row)).to_have_count(0)
    expect(bobs.locator(row)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(row)).to_be_visible()
    expect(bobs.locator(row)).to_be_visible()


def test_an_update_does_not_replace_a_header_in_which_somebody_types(
    page: Page, still: Team, alice: User, tmp_path: Path
) -> None:
    recorder = Recorder(lifecycle.create_run(still, alice, SPEC), tmp_path)
    recorder.begin()
    page.goto(url_of(recorder.run))
    expect(page.locator("#run-head [data-status]")).not_to_have_text("connecting…")
    page.get_by_text("Rename").click()
    expect(page.get_by_role("textbox", name="Name")).to_be_focused()
    page.keyboard.type("half a na")
    edits.carry_out_one(edits.pin(), recorder.run, None)
    recorder.train(1, 3)
    expect(page.locator("#run-head [data-live=step]")).to_have_text("3")
    expect(page.get_by_role("textbox", name="Name")).to_have_value("half a na")
    page.keyboard.press("Escape")
    expect(page.locator("#run-head .badge", has_text="pinned")).to_be_visible()


def test_editing_works_on_a_phone_and_without_javascript(
    open_page: Callable[..., Page],
    alice: User,
    finished: Run,
    axe_violations: Callable[[Page], list[str]],
) -> None:
    edits.carry_out_one(edits.add_tags("t" * 40 + "," + "u" * 40), finished, None)
    phone = open_page(alice, PHONE)
    phone.goto(url_of(finished))
    phone.get_by_text("Add tag").click()
    assert not has_sideways_scroll(phone)
    assert axe_violations(phone) == []
    for path in (f"{url_of(finished)}delete/", f"{url_of(finished)}notes/", "/runs/deleted/"):
        phone.goto(path)
        assert not has_sideways_scroll(phone) and axe_violations(phone) == []
    context = phone.context.browser.new_context(  # type: ignore[union-attr]
        java_script_enabled=False, base_url=phone.url.split("/runs/")[0]
    )
    context.add_cookies(phone.context.cookies())  # type: ignore[arg-type]
    plain = context.new_page()
    plain.goto(url_of(finished))
    plain.get_by_text("Rename").click()
    plain.get_by_role("textbox", name="Name").fill("without a script")
    plain.get_by_role("button", name="Save").click()
    expect(plain.get_by_role("heading", name="without a script")).to_be_visible()
    context.close()
