"""The new-run page in a browser: it shows fields that apply, is checked, and starts a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PHONE, WIDE, _session_of, has_sideways_scroll
from tests.webapp.pages.test_new_run import definition_of
from webapp.access.models import User
from webapp.nodes.models import Node
from webapp.preflights.models import Preflight
from webapp.runs.models import Run
from workers.preflights import run_waiting

ALPHA = "#field-pool-weighting-alpha-paced"
BETA = "#field-pool-weighting-beta-paced"
SHIFTS = """() => new Promise((done) => {
  let total = 0;
  const add = (list) => list.getEntries().forEach((entry) => (total += entry.value));
  new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(total), 500);
})"""


@pytest.fixture
def form(page: Page) -> Page:
    page.goto("/runs/new/")
    return page


def fill(page: Page, selector: str, value: str) -> None:
    """Fill in a field and wait for the server's check."""
    with page.expect_response("**/runs/new/check/"):
        page.fill(selector, value)


def choose(page: Page, selector: str, value: str) -> None:
    with page.expect_response("**/runs/new/check/"):
        page.select_option(selector, value)


def test_the_curve_follows_alpha_and_beta(form: Page) -> None:
    line, sentence = form.locator("#curve .curve-line"), form.locator("#curve-text")
    dots = form.locator("#curve .curve-dots circle")
    before = line.get_attribute("d")
    expect(dots).to_have_count(9)
    fill(form, ALPHA, "3")
    expect(sentence).to_contain_text("Highest weight at p = 0.75")
    assert line.get_attribute("d") != before
    fill(form, BETA, "0")
    expect(sentence).to_contain_text("Highest weight at p = 1.00. Dropped: p = 0 of 8")
    fill(form, "#field-pool-rollouts_per_problem", "4")
    expect(dots).to_have_count(5)


def test_an_invalid_weighting_fades_the_last_curve(form: Page) -> None:
    drawing, sentence = form.locator("#curve-drawing"), form.locator("#curve-text")
    before = form.get_attribute("#curve .curve-line", "d") or ""
    fill(form, BETA, "x")
    expect(sentence).to_contain_text("is shown when its settings are valid numbers")
    expect(form.locator("#curve .curve-line")).to_have_attribute("d", before)
    expect(drawing).to_have_css("opacity", "0.35")
    fill(form, BETA, "2")
    expect(sentence).to_contain_text("Highest weight at p = 0.33")
    expect(drawing).to_have_css("opacity", "1")


def test_only_fields_that_matter_are_shown_and_sent(form: Page) -> None:
    expect(form.locator("#yaml")).to_contain_text("alpha: 1.0")
    choose(form, "#field-pool-weighting-kind", "uniform")
    expect(form.locator(ALPHA)).to_be_hidden()
    expect(form.locator("#curve")).to_be_hidden()
    expect(form.locator("#yaml")).not_to_contain_text("alpha")
    choose(form, "#field-pool-weighting-kind", "hard_filter")
    expect(form.locator("#field-pool-weighting-low-hard_filter")).to_be_visible()
    expect(form.locator("#yaml")).to_contain_text("low: 0.125")
    expect(form.locator("#curve")).to_be_visible()


def test_each_kind_of_teacher_shows_its_own_fields(form: Page) -> None:
    model, template = (
        "#field-networks-teacher-model-model",
        "#field-networks-teacher-context-template-privileged",
    )
    expect(form.locator(model)).to_be_visible()
    choose(form, "#field-networks-teacher-kind", "self")
    expect(form.locator(model)).to_be_hidden()
    expect(form.locator("#field-networks-teacher-context-kind-model-problem")).to_contain_text(
        "must be shown more than it is asked"
    )
    choose(form, "#field-networks-teacher-context-kind-model", "privileged")
    form.check("[data-mode-choice][value=expert]")
    expect(form.locator(template)).to_be_visible()
    choose(form, "#field-networks-teacher-weights-self", "ema")
    expect(form.locator("#yaml")).to_contain_text("ema_rate: 0.05")
    choose(form, "#field-networks-teacher-kind", "endpoint")
    fill(form, "#field-networks-teacher-url-endpoint", "https://models.example/v1")
    expect(form.locator("#field-networks-teacher-url-endpoint-help")).to_contain_text(
        "STILLROOM_ENDPOINTS"
    )


def test_a_setting_shared_by_several_objectives_keeps_its_value(
    form: Page,
) -> None:
    form.goto("/runs/new/?preset=small")
    form.check("[data-mode-choice][value=expert]")
    clip, limit = (
        "#field-stages-1-objective-clip-kind-adaptive_kl",
        "#field-stages-1-objective-clip-limit-clip",
    )
    choose(form, clip, "clip")
    fill(form, limit, "0.2")
    choose(form, "#field-stages-1-objective-kind", "jsd")
    expect(form.locator(limit)).to_have_value("0.2")
    expect(form.locator("#yaml")).to_contain_text("limit: 0.2")
    choose(form, "#field-stages-1-objective-kind", "cross_entropy")
    expect(form.locator(limit)).to_be_hidden()


def test_specialists_are_added_and_removed(form: Page) -> None:
    form.check("[data-mode-choice][value=expert]")
    with form.expect_response("**/runs/new/check/"):
        form.get_by_role("button", name="Add a specialist").click()
    expect(form.get_by_label("Domains")).to_be_focused()
    fill(form, "#field-networks-specialists-0-domains", "add, sub")
    choose(form, "#field-networks-specialists-0-teacher-model-model", "builtin:teacher")
    expect(form.locator("#yaml")).to_contain_text(
        "specialists:\n  - domains:\n    - add\n    - sub"
    )
    with form.expect_response("**/runs/new/check/"):
        form.get_by_label("Remove specialist 1").click()
    expect(form.locator("#yaml")).to_contain_text("specialists: []")


def test_a_problem_is_shown_beside_its_field_until_it_is_fixed(form: Page) -> None:
    fill(form, ALPHA, "-1")
    problem = form.locator(f"{ALPHA}-problem")
    expect(problem).to_contain_text("Must not be negative")
    expect(form.locator(ALPHA)).to_have_attribute("aria-invalid", "true")
    assert (
        problem.get_attribute("id") in (form.get_attribute(ALPHA, "aria-describedby") or "").split()
    )
    expect(form.locator("#problems-title")).to_have_text("1 problem found")
    expect(form.locator("[data-verdict]")).to_have_text("1 problem found")
    form.click("#problem-summary a")
    fill(form, ALPHA, "1")
    expect(problem).to_be_empty()
    expect(form.locator("#problems-title")).to_have_text("Ready to start")


def test_stages_are_added_moved_and_removed_by_keyboard(form: Page) -> None:
    form.goto("/runs/new/?preset=small")
    names = form.locator('#stages input[name$=".name"]')
    first, second = names.nth(0).input_value(), names.nth(1).input_value()
    with form.expect_response("**/runs/new/check/"):
        form.focus("[data-list=stages] [data-add]")
        form.keyboard.press("Enter")
    form.keyboard.type("third")
    expect(names.nth(2)).to_have_value("third")
    with form.expect_response("**/runs/new/check/"):
        form.get_by_label("Move stage 3 up").focus()
        form.keyboard.press("Enter")
    expect(form.locator("[data-list=stages] [data-list-status]")).to_have_text("Now stage 2 of 3.")
    expect(form.get_by_label("Move stage 2 up")).to_be_focused()
    with form.expect_response("**/runs/new/check/"):
        form.get_by_label("Remove stage 1").press("Enter")
    expect(form.locator(".schedule-list strong")).to_have_text(["pass rates", "third", second])
    assert first != second


def test_the_return_key_in_a_field_starts_no_run(form: Page) -> None:
    form.press("#field-name", "Enter")
    form.press("#field-seed", "Enter")
    assert form.url.endswith("/runs/new/")
    assert not Run.objects.exists()


def test_expert_settings_are_shown_on_request_and_remembered(form: Page) -> None:
    floor = form.locator("#field-pool-weighting-floor-paced")
    expect(floor).to_be_hidden()
    form.check("[data-mode-choice][value=expert]")
    expect(floor).to_be_visible()
    form.goto("/runs/new/")
    expect(floor).to_be_visible()


def test_settings_changed_in_expert_mode_are_shown_in_simple_mode(form: Page) -> None:
    decay = form.locator('[name="stages.0.optimiser.weight_decay"]')
    form.check("[data-mode-choice][value=expert]")
    fill(form, '[name="stages.0.optimiser.weight_decay"]', "0.3")
    with form.expect_response("**/runs/new/check/"):
        form.get_by_role("button", name="Add a specialist").click()
    fill(form, "#field-networks-specialists-0-domains", "add")
    form.check("[data-mode-choice][value=simple]")
    expect(decay).to_be_visible()
    expect(form.locator("#field-networks-specialists-0-domains")).to_be_visible()
    expect(form.locator("#field-pool-weighting-floor-paced")).to_be_hidden()
    form.check("[data-mode-choice][value=expert]")
    fill(form, '[name="stages.0.optimiser.weight_decay"]', decay.get_attribute("value") or "")
    form.check("[data-mode-choice][value=simple]")
    expect(decay).to_be_hidden()


def test_a_problem_of_an_expert_setting_shows_it_in_simple_mode(form: Page) -> None:
    form.check("[data-mode-choice][value=expert]")
    fill(form, "#field-compute-micro_batch_tokens", "0")
    form.check("[data-mode-choice][value=simple]")
    expect(form.locator("#field-compute-micro_batch_tokens")).to_be_visible()
    expect(form.locator("#field-compute-generation_rows")).to_be_hidden()


def test_a_location_that_is_not_listed_is_written_in_a_text_field(form: Page) -> None:
    choose(form, "#field-networks-student-model", "hub:")
    with form.expect_response("**/runs/new/check/"):
        form.get_by_label("Model: name or folder").first.fill("organisation/small@main")
    expect(form.locator("#yaml")).to_contain_text("hub:organisation/small@main")
    expect(form.locator("#check")).to_contain_text("The student is a model of the hub")


def test_the_form_keeps_its_values_after_a_sign_out(
    browser: Browser, site: str, alice: User
) -> None:
    # Not the fixture's page, which fails on the 401 that the browser logs here.
    with browser.new_context(base_url=site) as context:
        context.add_cookies(
            [{"name": settings.SESSION_COOKIE_NAME, "value": _session_of(alice), "url": site}]
        )
        page = context.new_page()
        page.goto("/runs/new/")
        context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
        page.fill("#field-name", "kept")
        expect(page.locator("[data-verdict]")).to_contain_text("You are signed out")
        expect(page.locator("#field-name")).to_have_value("kept")


def test_the_form_starts_a_run(form: Page, alice: User) -> None:
    fill(form, "#field-name", "From the browser")
    form.click("text=Start run")
    form.wait_for_url("**/runs/*/", wait_until="networkidle")
    run = Run.objects.get()
    assert (run.name, run.owner) == ("From the browser", alice)
    assert definition_of(run)["pool"]["weighting"]["alpha"] == 1.0


@pytest.mark.parametrize("viewport", [WIDE, PHONE])
def test_the_page_fits_and_does_not_shift(
    open_page: Callable[..., Page], alice: User, viewport: dict[str, int]
) -> None:
    page = open_page(alice, viewport)
    page.goto("/runs/new/?mode=expert")
    assert page.evaluate(SHIFTS) < 0.02
    assert not has_sideways_scroll(page)


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_accessible(
    open_page: Callable[..., Page],
    alice: User,
    axe_violations: Callable[[Page], list[str]],
    dark: bool,
) -> None:
    page = open_page(alice, dark=dark)
    page.goto("/runs/new/")
    page.check("[data-mode-choice][value=expert]")
    fill(page, ALPHA, "-1")
    assert axe_violations(page) == []


def test_a_worker_checks_tokenizers_and_verifier_while_the_form_is_open(
    form: Page, tmp_path: Path, settings: Any
) -> None:
    settings.STILLROOM_STATE = tmp_path
    verdict, summary = form.locator("[data-verdict]"), form.locator("#problem-summary")
    expect(verdict).to_have_text("Ready to start")
    form.check("[data-mode-choice][value=expert]")
    # Alive for as long as the test takes, on a machine of any speed.
    later = timezone.now() + timedelta(hours=1)
    Node.objects.create(name="elm", address="", cpus=1, memory_bytes=1, heartbeat_at=later)
    with form.expect_response("**/runs/new/preflight/"):
        fill(form, "#field-data-prompt", "How much is ’{question}’?")
    expect(verdict).to_have_text("Checking tokenizers and verifier…")
    run_waiting()
    # Of training, held-out and retained problems for the student, and of its teacher.
    expect(verdict).to_have_text("4 problems found")
    expect(summary).to_contain_text("The student's tokenizer has no token for ’ (U+2019)")
    problem = form.locator('[data-problem-of="field-networks-student-model"]')
    expect(problem).to_contain_text("Choose a model whose tokenizer has it")
    with form.expect_response("**/runs/new/preflight/"):
        fill(form, "#field-data-prompt", "{question}")
    run_waiting()
    expect(verdict).to_have_text("Ready to start")
    expect(problem).to_be_empty()
    expect(summary).to_contain_text("tokens with the student")
    warning = {
        "severity": "warning",
        "kind": "references",
        "path": "data.verifier",
        "sentence": "The verifier accepts too little.",
    }
    Preflight.objects.update(report={"findings": [warning], "complete": True, "seconds": 1})
    fill(form, "#field-name", "the same problems")
    expect(verdict).to_have_text("Ready to start, 1 warning")
    beside = form.locator('[data-warning-of="field-data-verifier-kind"]')
    expect(beside).to_have_text("The verifier accepts too little.")
    expect(form.locator("#field-data-verifier-kind")).not_to_have_attribute("aria-invalid", "true")
