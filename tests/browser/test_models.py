"""Models and recipes in a browser: an uploaded model and a recipe are used for a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, ROOT, has_sideways_scroll
from tests.webapp.pages.test_new_run import definition_of
from webapp.access.models import User
from webapp.library.models import StoredModel
from webapp.runs.models import Run

STUDENT = ROOT / "trainer" / "text" / "builtin" / "student"


def test_an_uploaded_folder_can_be_chosen_as_the_student(page: Page) -> None:
    page.goto("/models/new/")
    page.fill("#name", "Small one")
    page.set_input_files("#files", STUDENT)
    page.click("main button:text('Upload')")
    page.wait_for_url("**/models/")
    expect(page.locator(".messages")).to_contain_text("small-one is stored")
    model = StoredModel.objects.get()
    row = page.locator("tr", has_text="small-one")
    expect(row).to_contain_text("Qwen2ForCausalLM")
    expect(row).to_contain_text(f"{model.parameters:,}")
    page.goto("/runs/new/")
    with page.expect_response("**/runs/new/check/"):
        page.select_option("#field-networks-student-model", f"model:small-one@{model.hash}")
    expect(page.locator("#problems-title")).to_have_text("Ready to start")
    page.click("text=Start run")
    page.wait_for_url("**/runs/*/", wait_until="networkidle")
    assert (
        definition_of(Run.objects.get())["networks"]["student"]["model"]
        == f"model:small-one@{model.hash}"
    )


def test_a_recipe_leads_to_its_form(page: Page) -> None:
    page.goto("/recipes/")
    page.locator("a[href='/recipes/paced/']", has_text="Read more").click()
    page.wait_for_url("**/recipes/paced/")
    page.locator("text=Use these settings").first.click()
    page.wait_for_url("**/runs/new/?recipe=paced&preset=*")
    expect(page.locator("#problems-title")).to_have_text("Ready to start")


@pytest.mark.parametrize("address", ["/models/", "/models/new/", "/recipes/", "/recipes/paced/"])
def test_the_pages_fit_a_phone_and_are_accessible(
    open_page: Callable[..., Page],
    alice: User,
    axe_violations: Callable[[Page], list[str]],
    address: str,
) -> None:
    page = open_page(alice, PHONE)
    page.goto(address)
    assert not has_sideways_scroll(page)
    assert axe_violations(page) == []


def test_a_phone_shows_each_verdict_without_scrolling(
    open_page: Callable[..., Page], alice: User
) -> None:
    page = open_page(alice, PHONE)
    page.goto("/recipes/opsd/")
    badges = page.locator(".verdicts .badge").all()
    assert len(badges) > 1
    for badge in badges:
        box = badge.bounding_box()
        assert box is not None and box["x"] + box["width"] <= PHONE["width"]
