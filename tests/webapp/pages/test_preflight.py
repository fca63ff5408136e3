"""The preflight in the form and before a launch: asked once, waited for in bounds, and obeyed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.webapp import conftest
from tests.webapp.pages.test_new_run import as_, posted
from trainer.spec import load
from trainer.text.preflight.findings import Finding, Report
from webapp.access.models import Team, User
from webapp.base.turns import MOST_WAITING
from webapp.nodes.models import Node
from webapp.preflights import preflights
from webapp.preflights.fingerprint import fingerprint_of
from webapp.preflights.models import Preflight
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db(transaction=True)

SPEC: dict[str, Any] = dict(conftest.SPEC)
SPEC_LONGEST = load(SPEC).evaluation.sampling.max_new_tokens
MODEL, VERIFIER = "networks.student.model", "data.verifier"
CHECKING = "Checking tokenizers and verifier…"
REFUSAL = Finding(
    "refused", "characters", MODEL, "The student's tokenizer has no token for ’ (U+2019)."
)
WARNING = Finding("warning", "references", VERIFIER, "The verifier reads half of them.")
FACT = Finding("fact", "length", "data.train", "The prompts have 7 to 21 tokens.")


@pytest.fixture
def _worker(settings: Any) -> None:
    """A machine that is alive but answers nothing by itself."""
    later = timezone.now() + timedelta(hours=1)
    Node.objects.create(name="elm", address="", cpus=1, memory_bytes=1, heartbeat_at=later)
    settings.STILLROOM_PREFLIGHT_WAIT = 1


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The times that workers were notified."""
    calls: list[str] = []
    monkeypatch.setattr(
        "webapp.base.celery_client.wake_preflights", lambda: calls.append("preflights")
    )
    return calls


def answered(team: Team, *findings: Finding, complete: bool = True, **changes: Any) -> Preflight:
    """The definition with its answer, as a worker stores it."""
    preflight = preflights.request(team, load({**SPEC, **changes}))
    claimed = preflights.claim_next()
    assert claimed is not None and claimed.pk == preflight.pk
    preflights.finish(claimed, Report(tuple(findings), complete, 1.0))
    return preflight


def preflight_page(client: Client, **changes: str) -> tuple[int, str]:
    answer = client.post("/runs/new/preflight/", posted(SPEC, **changes))
    return answer.status_code, answer.content.decode()


def check_page(client: Client) -> str:
    return client.post("/runs/new/check/", posted(SPEC)).content.decode()


def test_without_a_worker_nothing_is_asked_and_the_page_says_so(
    erin: User, woken: list[str]
) -> None:
    client = as_(erin)
    page = check_page(client)
    assert "Ready to start" in page and "because no worker is running" in page
    assert CHECKING not in page
    status, page = preflight_page(client)
    assert status == 200 and "because no worker is running" in page
    assert not Preflight.objects.exists() and not woken


@pytest.mark.usefixtures("_worker")
def test_the_form_asks_once_and_shows_the_answer(erin: User, still: Team, woken: list[str]) -> None:
    client = as_(erin)
    assert CHECKING in check_page(client) and not Preflight.objects.exists()
    assert preflight_page(client) == (204, "")
    assert preflight_page(client, name="another name") == (204, "")
    assert Preflight.objects.count() == 1 and woken == ["preflights"]
    claimed = preflights.claim_next()
    assert claimed is not None
    assert preflight_page(client) == (204, "")
    preflights.finish(claimed, Report((WARNING, FACT), True, 1.0))
    for page in (preflight_page(client)[1], check_page(client)):
        assert "Ready to start, 1 warning" in page
        assert 'data-warning-target="field-data-verifier-kind"' in page
        assert FACT.sentence in page
    assert woken == ["preflights"]


@pytest.mark.usefixtures("_worker")
def test_a_refusal_stands_beside_its_field_and_nothing_starts(erin: User, still: Team) -> None:
    answered(still, REFUSAL, WARNING)
    client = as_(erin)
    page = preflight_page(client)[1]
    assert "1 problem found" in page
    assert 'data-target="field-networks-student-model"' in page
    answer = client.post("/runs/new/", posted(SPEC))
    assert answer.status_code == 422
    assert "no token for ’ (U+2019)" in answer.content.decode()
    assert not Run.objects.exists()


@pytest.mark.usefixtures("_worker")
def test_warnings_do_not_stop_a_launch(erin: User, still: Team) -> None:
    answered(still, WARNING)
    assert as_(erin).post("/runs/new/", posted(SPEC)).status_code == 302
    assert Run.objects.count() == 1


@pytest.mark.usefixtures("_worker")
def test_a_launch_without_an_answer_goes_ahead_and_says_so(erin: User, still: Team) -> None:
    client = as_(erin)
    answer = client.post("/runs/new/", posted(SPEC), follow=True)
    assert answer.status_code == 200 and Run.objects.count() == 1
    assert "because no worker has answered within 1 s" in answer.content.decode()


def test_a_launch_without_a_worker_waits_for_nobody(erin: User, still: Team) -> None:
    answer = as_(erin).post("/runs/new/", posted(SPEC), follow=True)
    assert Run.objects.count() == 1 and not Preflight.objects.exists()
    assert "because no worker is running" in answer.content.decode()


@pytest.mark.usefixtures("_worker")
def test_a_launch_waits_for_an_answer_that_comes(
    erin: User, still: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_now(seconds: float) -> None:
        if claimed := preflights.claim_next():
            preflights.finish(claimed, Report((REFUSAL,), True, 1.0))

    monkeypatch.setattr("webapp.preflights.preflights.time.sleep", answer_now)
    assert as_(erin).post("/runs/new/", posted(SPEC)).status_code == 422
    assert not Run.objects.exists()


@pytest.mark.usefixtures("_worker")
@pytest.mark.parametrize("findings", [(REFUSAL,), (WARNING,)])
def test_each_arm_of_an_experiment_has_its_preflight(
    erin: User, still: Team, findings: tuple[Finding, ...], woken: list[str]
) -> None:
    """Arms that differ in what no preflight reads share that of the form."""
    longest = 13
    evaluation = {**load(SPEC).evaluation.model_dump(mode="json")}
    evaluation["sampling"] = {**evaluation["sampling"], "max_new_tokens": longest}
    answered(still)
    answered(still, *findings, evaluation=evaluation)
    form = {
        "vary.0.path": "evaluation.sampling.max_new_tokens",
        "vary.0.values": f"{SPEC_LONGEST}, {longest}",
        "vary.1.path": "stages.0.until.steps",
        "vary.1.values": "8, 9",
    }
    answer = as_(erin).post("/runs/new/", {**posted(SPEC), **form})
    assert Preflight.objects.count() == len(woken) == 2
    if REFUSAL in findings:
        assert answer.status_code == 422 and not Run.objects.exists()
        page = answer.content.decode()
        assert (
            f"cannot be used: with max_new_tokens = {longest}" in page
            and "no token for ’ (U+2019)" in page
        )
    else:
        assert answer.status_code == 302 and Run.objects.count() == 4


@pytest.mark.usefixtures("_worker")
def test_further_launches_do_not_wait_while_many_do(
    erin: User, still: Team, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(seconds: float) -> None:
        raise AssertionError("this launch waits")

    monkeypatch.setattr("webapp.preflights.preflights.time.sleep", never)
    taken = [preflights.WAITERS.acquire(blocking=False) for _ in range(MOST_WAITING)]
    try:
        assert all(taken)
        assert as_(erin).post("/runs/new/", posted(SPEC)).status_code == 302
    finally:
        for _ in taken:
            preflights.WAITERS.release()


@pytest.mark.usefixtures("_worker")
def test_a_refused_definition_is_not_cloned(erin: User, still: Team) -> None:
    client = as_(erin)
    answered(still)
    client.post("/runs/new/", posted(SPEC))
    run = Run.objects.get()
    Preflight.objects.all().delete()
    answered(still, REFUSAL)
    answer = client.post(f"/runs/{run.public_id}/clone/", follow=True)
    assert Run.objects.count() == 1
    assert "no token for ’ (U+2019)" in answer.content.decode()


@pytest.mark.usefixtures("_worker")
def test_a_viewer_gives_the_workers_no_work(bob: User, still: Team) -> None:
    client = as_(bob)
    assert "Ready to start" in check_page(client)
    assert client.post("/runs/new/preflight/", posted(SPEC)).status_code == 403
    assert not Preflight.objects.exists()


@pytest.mark.usefixtures("_worker")
def test_another_team_does_not_see_the_answer(charlie: User, still: Team) -> None:
    answered(still, REFUSAL)
    client = as_(charlie)
    assert REFUSAL.sentence not in check_page(client)
    assert preflight_page(client) == (204, "")
    assert Preflight.objects.count() == 2


@pytest.mark.usefixtures("_worker")
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"stages.0.until.steps": "x"},
        {"networks.student.model": "model:none@1"},
        {"networks.student.model": "file:/\0"},
        {"data.prompt": "\0{question}"},
    ],
)
def test_bad_input_is_answered(erin: User, form: dict[str, Any]) -> None:
    answer = as_(erin).post("/runs/new/preflight/", {**posted(SPEC), **form} if form else {})
    assert answer.status_code in (200, 204)


@pytest.mark.usefixtures("_worker")
def test_an_answer_that_is_not_complete_is_asked_for_again(still: Team, woken: list[str]) -> None:
    preflight = answered(still, FACT, complete=False)
    assert preflights.stored_report(still, load(SPEC))
    assert preflights.request(still, load(SPEC)).claimed_at is not None
    past = timezone.now() - timedelta(minutes=2)
    Preflight.objects.filter(pk=preflight.pk).update(finished_at=past)
    assert preflights.stored_report(still, load(SPEC)) is None
    assert preflights.request(still, load(SPEC)).claimed_at is None
    assert woken == ["preflights", "preflights"]


def test_a_preflight_of_a_lost_worker_is_asked_for_again(still: Team) -> None:
    preflight = preflights.request(still, load(SPEC))
    lost = preflights.claim_next()
    assert lost is not None and preflights.claim_next() is None
    past = timezone.now() - timedelta(minutes=10)
    Preflight.objects.filter(pk=preflight.pk).update(claimed_at=past)
    preflights.request(still, load(SPEC))
    again = preflights.claim_next()
    assert again is not None
    preflights.finish(lost, Report((REFUSAL,), True, 1.0))
    assert preflights.stored_report(still, load(SPEC)) is None


def test_the_newest_is_claimed_first_and_a_forgotten_one_never(still: Team) -> None:
    specs = [
        load({**SPEC, "data": {"train": {"kind": "arithmetic", "count": count}}})
        for count in (400, 500, 600)
    ]
    rows = [preflights.request(still, spec) for spec in specs]
    past = timezone.now() - timedelta(minutes=6)
    Preflight.objects.filter(pk=rows[1].pk).update(requested_at=past)
    claimed = [preflights.claim_next() for _ in range(3)]
    assert [row and row.pk for row in claimed] == [rows[2].pk, rows[0].pk, None]
    preflights.request(still, specs[1])
    assert preflights.claim_next() is not None


def test_answers_of_long_ago_are_removed(still: Team) -> None:
    answered(still)
    assert preflights.prune() == 0
    Preflight.objects.update(requested_at=timezone.now() - timedelta(days=31))
    assert preflights.prune() == 1


CHANGES = [
    ({"name": "other"}, True),
    ({"seed": 5}, True),
    ({"stages": [{"name": "forward", "until": {"steps": 7}}, SPEC["stages"][1]]}, True),
    ({"compute": {"device": "cpu"}}, True),
    ({"networks": {**SPEC["networks"], "student": {"model": "builtin:hinted"}}}, False),
    ({"data": {"prompt": "Q: {question}"}}, False),
    ({"data": {"verifier": {"kind": "math"}}}, False),
    ({"data": {"train": {"kind": "arithmetic", "count": 401}}}, False),
    ({"evaluation": {"sampling": {"max_new_tokens": 17}}}, False),
    ({"pool": {"sampling": {"max_new_tokens": 17}}}, False),
]


@pytest.mark.parametrize(("change", "is_same"), CHANGES)
def test_the_fingerprint_is_of_what_the_answer_depends_on(
    change: dict[str, Any], is_same: bool
) -> None:
    same = fingerprint_of(load({**SPEC, **change})) == fingerprint_of(load(SPEC))
    assert same is is_same


def test_a_changed_file_has_another_fingerprint(tmp_path: Path, settings: Any) -> None:
    settings.STILLROOM_FILE_ROOTS = (tmp_path,)
    file = tmp_path / "sums.jsonl"
    file.write_text('{"question": "1+1", "answer": "2"}\n')
    spec = load({**SPEC, "data": {"train": {"kind": "file", "path": f"file:{file}"}}})
    before = fingerprint_of(spec)
    assert fingerprint_of(spec) == before
    file.write_text('{"question": "1+1", "answer": "2", "more": 1}\n')
    assert fingerprint_of(spec) != before
