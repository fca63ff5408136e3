"""Among ten thousand runs in a browser: found by a setting, selected, tagged, renamed, archived."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PHONE, has_sideways_scroll
from webapp.access.models import Team, User
from webapp.runs import edits
from webapp.runs.models import Run

MANY = 10_000


# The setting lr is 1, 2, … of MANY in MANYths. Made by the database itself, which is quick.
FILL_RUNS = """
INSERT INTO runs_run (public_id, team_id, owner_id, name, source, recipe, tags, notes, pinned,
    edits, state, attempt, lease_holder, after_stop, resume_after_restart, priority, on_hold,
    restarts, reason, remedy, batch_count, step, summary)
SELECT 'many' || index, %(team)s, %(owner)s, 'run ' || lpad(index::text, 5, '0'), 'managed', '',
    '[]', '', false, 0, 'completed', 0, '', 'stopped', false, 0, false, 0, '', '', 0, 0, '{}'
FROM generate_series(1, %(many)s) AS index
"""
FILL_VALUES = """
INSERT INTO runs_runvalue (run_id, team_id, key, number, is_setting)
SELECT id, team_id, 'lr', substr(public_id, 5)::float / %(many)s, true FROM runs_run
"""


def fill(team: Team, owner: User, many: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL_RUNS, {"team": team.pk, "owner": owner.pk, "many": many})
        cursor.execute(FILL_VALUES, {"many": many})


def overlap(one: Locator, other: Locator) -> bool:
    """Whether two elements share a part of the screen's height."""
    (one_top, one_end), (top, end) = (
        (box["y"], box["y"] + box["height"])
        for box in (one.bounding_box(), other.bounding_box())
        if box is not None
    )
    return one_top < end and top < one_end


def test_a_run_is_found_by_a_setting_then_renamed_tagged_archived_and_brought_back(
    page: Page, still: Team, alice: User
) -> None:
    fill(still, alice, MANY)
    page.goto("/")
    find = page.get_by_role("combobox", name="Find")
    find.press_sequentially("l")
    expect(page.get_by_role("option", name="lr")).to_be_visible()
    find.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    find.press("Escape")
    expect(find).to_have_value("l")
    find.press("r")
    expect(page.get_by_role("option", name="lr")).to_be_visible()
    find.press("ArrowDown")
    find.press("Tab")
    expect(find).to_have_value("lr")
    find.press_sequentially(" > 99.98 %")
    find.press("Enter")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    # The selection stays when the rows are sorted, refreshed, and after an action.
    page.get_by_label("Select all runs on this page").check()
    selected = page.locator("[data-selected]")
    expect(selected).to_have_text("2 selected")
    page.get_by_role("link", name="Run", exact=True).click()
    expect(page.get_by_role("columnheader", name="Run")).to_have_attribute(
        "aria-sort", "descending"
    )
    expect(selected).to_have_text("2 selected")
    edits.carry_out_one(edits.rename("run x"), Run.objects.get(name="run 10000"), None)
    expect(rows.filter(has_text="run x")).to_have_count(1)
    expect(selected).to_have_text("2 selected")
    tag, toast = page.get_by_label("Tags, separated by commas"), page.locator(".toast")
    tag.fill("my tag")
    page.get_by_role("button", name="Tag", exact=True).click()
    expect(toast).to_contain_text("Write one tag as “my-tag”")
    # A message does not lie over the bar, and goes away when asked to.
    assert not overlap(toast, page.locator("#selection"))
    toast.get_by_label("Close this message").click()
    expect(toast).to_have_count(0)
    tag.fill("my-tag")
    page.get_by_role("button", name="Tag", exact=True).click()
    expect(toast).to_contain_text("2 runs are tagged “my-tag”.")
    expect(rows.filter(has_text="my-tag")).to_have_count(2)
    toast.get_by_role("button", name="Undo").click()
    expect(rows.filter(has_text="my-tag")).to_have_count(0)
    expect(selected).to_have_text("2 selected")
    page.get_by_role("button", name="Archive").click()
    expect(page.get_by_role("heading", name="No run matches")).to_be_visible()
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="run x").click()
    page.locator("#rename").click()
    name = page.get_by_role("textbox", name="Name")
    name.fill("the best")
    name.press("Enter")
    expect(page.get_by_role("heading", name="the best")).to_be_visible()


def test_all_runs_that_match_are_selected_and_a_changed_view_says_so(
    page: Page, still: Team, alice: User
) -> None:
    fill(still, alice, 70)
    page.goto("/?q=lr+<+0.86")
    selected = page.locator("[data-selected]")
    page.get_by_label("Select all runs on this page").check()
    expect(selected).to_have_text("50 selected")
    page.get_by_role("button", name="Select all that match").click()
    expect(selected).to_have_text("60 selected · 10 not on this page · all that match")
    page.get_by_role("link", name="Next page").click()
    expect(selected).to_have_text("60 selected · 50 not on this page")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("60 runs are pinned.")
    page.locator("summary", has_text="Views").click()
    page.get_by_label("Save what is shown as").fill("Small steps")
    page.get_by_role("button", name="Save").click()
    changed = page.locator("h1 .badge", has_text="changed")
    expect(page.locator("h1")).to_contain_text("Small steps")
    expect(changed).to_have_count(0)
    page.get_by_role("link", name="Created").click()
    expect(changed).to_be_visible()
    page.get_by_role("link", name="Revert").click()
    expect(changed).to_have_count(0)
    page.get_by_role("link", name="Created").click()
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator(".toast")).to_contain_text("Saved the changes of the view")
    expect(changed).to_have_count(0)


def test_the_filters_of_a_phone_take_one_row_until_they_are_asked_for(
    open_page: Callable[..., Page],
    still: Team,
    alice: User,
    axe_violations: Callable[[Page], list[str]],
) -> None:
    Run.objects.bulk_create(Run(team=still, name=f"run {index}") for index in range(3))
    page = open_page(alice, PHONE)
    page.goto("/?state=queued")
    state = page.locator("#state")
    expect(state).to_be_hidden()
    assert page.locator("form.filters").bounding_box()["height"] < 90  # type: ignore[index]
    toggle = page.get_by_role("button", name="Filters (1)")
    toggle.click()
    expect(state).to_be_visible()
    assert not has_sideways_scroll(page) and axe_violations(page) == []
    toggle.click()
    page.get_by_label("Select run 0").check()
    # The bar is one row.
    assert page.locator("#selection").bounding_box()["height"] < 60  # type: ignore[index]
    page.get_by_role("button", name="Select this page").click()
    expect(page.locator("[data-selected]")).to_have_text("3 selected")
    assert not has_sideways_scroll(page) and axe_violations(page) == []
