"""Data sets in a browser: GSM8K is uploaded, mapped, saved and used in the form of a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, ROOT, has_sideways_scroll
from webapp.access.models import User
from webapp.library.models import DataSet

# The first rows of the published file.
GSM8K = ROOT / "tests" / "gsm8k" / "train.jsonl"


def upload(page: Page, file: Path) -> None:
    page.goto("/data/new/")
    page.set_input_files("#file", file)
    page.click("main button:text('Upload')")
    page.wait_for_url("**/data/new/?file=*")


def test_gsm8k_goes_from_a_file_to_the_form_of_a_run(page: Page) -> None:
    upload(page, GSM8K)
    readings = page.locator(".readings .reference code")
    expect(readings).to_have_count(10)
    assert readings.all_inner_texts()[:3] == ["72", "10", "5"]
    page.fill("#name", "gsm8k")
    page.click("text=Save data set")
    page.wait_for_url("**/data/*/")
    data = DataSet.objects.get()
    expect(page.locator("main")).to_contain_text(re.compile(r"Problems\s*40"))
    expect(page.locator(".readings li")).to_have_count(10)
    page.click("text=New run with this data")
    expect(page.locator("#field-data-train-path-file")).to_have_value(
        f"dataset:gsm8k@{data.fingerprint}"
    )
    expect(page.locator("#problems-title")).to_have_text("Ready to start")


def test_the_preview_follows_the_mapping(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "sums.csv"
    file.write_text(
        "question,answer,letter\n" + "".join(f"{n}+1?,{n + 1},{'ABCD'[n % 4]}\n" for n in range(12))
    )
    upload(page, file)
    expect(page.locator(".readings .reference").first).to_contain_text("1")
    with page.expect_response("**/data/new/preview/*"):
        page.select_option("#field-data-train-columns-answer-file", "letter")
    expect(page.locator(".readings .reference").first).to_contain_text("not readable: A")
    with page.expect_response("**/data/new/preview/*"):
        page.select_option("#field-data-verifier-kind", "choice")
    expect(page.locator(".readings .reference").first).to_contain_text("A")
    expect(page.locator("#field-data-verifier-choices-choice")).to_be_visible()


def test_choosing_a_data_set_fills_in_its_columns_and_verifier(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "letters.csv"
    file.write_text("text,letter\n" + "".join(f"number {n},{'ABCD'[n % 4]}\n" for n in range(40)))
    upload(page, file)
    page.select_option("#field-data-train-columns-question-file", "text")
    page.select_option("#field-data-train-columns-answer-file", "letter")
    with page.expect_response(lambda response: "kind=choice" in response.url):
        page.select_option("#field-data-verifier-kind", "choice")
    page.click("text=Save data set")
    page.wait_for_url("**/data/*/")
    page.goto("/runs/new/")
    page.select_option("#field-data-train-kind", "file")
    with page.expect_response("**/runs/new/check/"):
        page.select_option(
            "#field-data-train-path-file",
            label=f"letters (40 problems, {DataSet.objects.get().fingerprint[:8]})",
        )
    expect(page.locator("#field-data-train-columns-question-file")).to_have_value("text")
    expect(page.locator("#field-data-verifier-kind")).to_have_value("choice")
    expect(page.locator("#problems-title")).to_have_text("Ready to start")


@pytest.mark.parametrize("address", ["/data/", "/data/new/"])
def test_the_pages_fit_a_phone(open_page: Callable[..., Page], alice: User, address: str) -> None:
    page = open_page(alice, PHONE)
    page.goto(address)
    assert not has_sideways_scroll(page)


def test_the_mapping_fits_a_phone(open_page: Callable[..., Page], alice: User) -> None:
    page = open_page(alice, PHONE)
    upload(page, GSM8K)
    expect(page.locator(".readings li")).to_have_count(10)
    assert not has_sideways_scroll(page)


def test_the_mapping_is_accessible(page: Page, axe_violations: Callable[[Page], list[str]]) -> None:
    upload(page, GSM8K)
    expect(page.locator(".readings li")).to_have_count(10)
    assert axe_violations(page) == []
