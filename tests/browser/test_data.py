"""Data sets in a browser: GSM8K is uploaded, mapped, saved and used in the form of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, ROOT, has_sideways_scroll
from webapp.access.models import User
from webapp.library.models import DataSet
from webapp.runs.models import Run

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


def test_nested_prompts_go_from_a_file_to_a_run(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "verl.json"
    rows = [
        {
            "prompt": [{"role": "user", "content": f"{n}+1=?"}],
            "reward_model": {"style": "rule", "ground_truth": str(n + 1)},
        }
        for n in range(40)
    ]
    file.write_text(json.dumps(rows, indent=1))
    upload(page, file)
    expect(page.locator("main")).to_contain_text("Recognised as verl")
    expect(page.locator("#field-data-train-columns-question-file")).to_have_value("prompt")
    answer = page.locator("#field-data-train-columns-answer-file")
    expect(answer).to_have_value("reward_model.ground_truth")
    expect(page.locator(".readings .reference code").first).to_have_text("1")
    with page.expect_response("**/data/new/preview/*"):
        answer.select_option("reward_model.style")
    expect(page.locator(".readings .reference").first).to_contain_text("not readable: rule")
    with page.expect_response("**/data/new/preview/*"):
        answer.select_option("reward_model.ground_truth")
    page.click("text=Save data set")
    page.wait_for_url("**/data/*/")
    page.click("text=New run with this data")
    expect(page.locator("#field-data-train-columns-answer-file")).to_have_value(
        "reward_model.ground_truth"
    )
    expect(page.locator("#problems-title")).to_have_text("Ready to start")
    page.click("main button:text('Start run')")
    page.wait_for_url("**/runs/*/")
    spec = Run.objects.get().spec
    assert spec is not None
    columns = spec["data"]["train"]["columns"]
    assert (columns["question"], columns["answer"]) == ("prompt", "reward_model.ground_truth")


def test_several_columns_are_joined_in_the_form(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "context.csv"
    file.write_text("context,query,result\n" + "".join(f"x={n},x+1?,{n + 1}\n" for n in range(12)))
    upload(page, file)
    question = page.locator("#field-data-train-columns-question-file")
    expect(question).to_have_value("query")
    text = page.get_by_label("Question column: columns in braces")
    expect(text).to_be_hidden()
    question.select_option(label="Several columns, or another value…")
    with page.expect_response(lambda response: "context" in response.url):
        text.fill("{context}\n\n{query}")
    with page.expect_response("**/data/new/preview/*"):
        page.select_option("#field-data-train-columns-answer-file", "result")
    expect(page.locator(".readings .question").first).to_have_text("x=0 x+1?")
    page.click("text=Save data set")
    page.wait_for_url("**/data/*/")
    assert DataSet.objects.get().columns["question"] == "{context}\n\n{query}"
    # The form of a run keeps the line breaks.
    page.click("text=New run with this data")
    expect(page.locator("#field-data-train-columns-question-file")).to_have_value(
        "{context}\n\n{query}"
    )
    expect(page.locator("#problems-title")).to_have_text("Ready to start")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "bad.jsonl is empty; it needs one row per problem."),
        (" \n", "bad.jsonl is empty; it needs one row per problem."),
        ('{"q": 1}\n{"q"', "Line 2 of bad.jsonl, the last, is cut off"),
        ('[{"q": 1}', "bad.jsonl is cut off in entry 2"),
    ],
)
def test_the_reason_of_a_refused_upload_is_on_the_page(
    page: Page, tmp_path: Path, content: str, sentence: str
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(content)
    page.goto("/data/new/")
    page.set_input_files("#file", file)
    page.click("main button:text('Upload')")
    expect(page.locator("#file-problem")).to_contain_text(sentence)
    # The file can be corrected and sent again.
    expect(page.locator("main button:text('Upload')")).to_be_enabled()


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
