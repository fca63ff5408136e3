"""Whole files are read beside the requests: progress, its end, and readings that were lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from tests.webapp.library.test_data_sets import COLUMNS, JSONL, upload
from tests.webapp.pages.test_new_run import as_
from webapp.access.models import Team, User
from webapp.library import artifacts, bounded_process, data_files, data_readings, data_sets
from webapp.library.data_readings import READINGS
from webapp.library.models import Artifact, DataReading, DataSet
from webapp.library.waiting_rows import FAILED, LOST, WaitingRows

pytestmark = pytest.mark.django_db


def begin(client: Client, content: bytes = JSONL, name: str = "sums") -> DataReading:
    upload(client, content)
    sha256 = Artifact.objects.latest("stored_at").sha256
    form = {"file": sha256, "filename": "sums.jsonl", "name": name} | COLUMNS
    answer = client.post("/data/new/", form)
    assert answer.status_code == 302
    reading = DataReading.objects.latest("created_at")
    assert answer["Location"] == f"/data/readings/{reading.pk}/"
    return reading


def page(client: Client, reading: DataReading, **headers: str) -> Any:
    return client.get(f"/data/readings/{reading.pk}/", headers=headers)


def test_saving_reads_nothing_in_its_request(alice: User) -> None:
    reading = begin(as_(alice))
    assert not DataSet.objects.exists()
    assert "Waiting" in page(as_(alice), reading).content.decode()
    listed = as_(alice).get("/data/").content.decode()
    assert f'href="/data/readings/{reading.pk}/"' in listed


def test_the_page_follows_the_reading_to_its_data_set(alice: User) -> None:
    client = as_(alice)
    reading = begin(client)
    rows = DataReading.objects.filter(pk=reading.pk)
    rows.update(heartbeat_at=timezone.now(), rows=1_234)
    assert "Reading rows: 1,234." in page(client, reading).content.decode()
    rows.update(count=2_000, references=512)
    assert "Reading references: 512 of 2,000." in page(client, reading).content.decode()
    data_readings.execute(reading)
    data = DataSet.objects.get()
    # The script of the page is told to go there, a person's browser is sent there.
    answer = page(client, reading, HX_Request="true")
    assert answer["HX-Redirect"] == f"/data/{data.pk}/"
    assert page(client, reading)["Location"] == f"/data/{data.pk}/"
    assert "sums is saved: 2 problems." in client.get(f"/data/{data.pk}/").content.decode()
    assert "readings" not in client.get("/data/").content.decode()


def test_progress_comes_from_the_child(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, then references, of which each report is stored while the child reads."""
    reading = begin(
        as_(alice), b"".join(b'{"q": "%d?", "a": "%d"}\n' % (n, n) for n in range(3_000))
    )
    reports: list[data_files.Progress | None] = []
    run = bounded_process.run

    def followed(*arguments: Any, follow: Any, **options: Any) -> Any:
        def both(progress: data_files.Progress | None) -> None:
            reports.append(progress)
            follow(progress)

        return run(*arguments, follow=both, **options)

    monkeypatch.setattr(bounded_process, "run", followed)
    data_readings.execute(reading)
    steps = [report for report in reports if report]
    assert steps[0].rows >= 1
    assert steps[0].references == 0
    assert steps[-1].count == 3_000
    assert steps[-1].references >= 1
    assert DataSet.objects.get().problem_count == 3_000


def test_a_file_with_unusable_rows_leads_back_to_its_mapping(alice: User) -> None:
    client = as_(alice)
    reading = begin(client, b'{"q": "1?", "a": "1"}\n{"q": "2?", "a": ""}\n', "gaps")
    data_readings.execute(reading)
    assert not DataSet.objects.exists()
    assert page(client, reading, HX_Request="true")["HX-Redirect"].endswith(f"/{reading.pk}/")
    answer = page(client, reading)
    assert "Row 2 of sums.jsonl has no answer" in answer.context["problem"]
    text = answer.content.decode()
    assert 'name="name" value="gaps"' in text
    assert answer.context["columns"][0].field.value == "q"


def test_a_file_that_costs_too_much_is_a_sentence(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_sets, "WHOLE_SECONDS", 0.0)
    reading = begin(as_(alice))
    data_readings.execute(reading)
    reading.refresh_from_db()
    assert "takes more than the 0 s that are allowed" in reading.problem


def test_a_reading_is_taken_once_and_again_when_it_was_lost(alice: User) -> None:
    reading = begin(as_(alice))
    assert READINGS.claim() == reading
    assert READINGS.claim() is None
    DataReading.objects.update(heartbeat_at=timezone.now() - 2 * LOST)
    assert READINGS.claim() == reading
    data_readings.execute(reading)
    # A second one that read the same file changes nothing.
    before = DataReading.objects.values().get()
    data_readings.execute(reading)
    assert DataReading.objects.values().get() == before
    assert DataSet.objects.count() == 1


def test_teams_take_turns(alice: User, charlie: User) -> None:
    first, second = begin(as_(alice), name="one"), begin(as_(alice), name="two")
    other = begin(as_(charlie), name="three")
    assert READINGS.claim() == first
    assert READINGS.claim() == other
    assert READINGS.claim() is None
    data_readings.execute(first)
    assert READINGS.claim() == second


def test_a_team_has_a_limit_of_waiting_files(
    alice: User, charlie: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_readings, "MOST_UNFINISHED", 1)
    client = as_(alice)
    reading = begin(client)
    form = {"file": reading.artifact.sha256, "filename": "sums.jsonl", "name": "more"} | COLUMNS
    answer = client.post("/data/new/", form)
    assert "The team has 1 files that are being read" in answer.context["problem"]
    begin(as_(charlie))


def test_the_file_of_an_unfinished_reading_is_kept(alice: User, still: Team) -> None:
    reading = begin(as_(alice), b'{"q": "1?", "a": ""}\n')
    Artifact.objects.update(stored_at=timezone.now() - timedelta(days=1))
    assert artifacts.collect() == 0
    data_readings.execute(reading)
    # Then nothing names it, and the reading goes with it.
    assert artifacts.collect() == 1
    assert not DataReading.objects.exists()


def test_a_file_that_is_gone_is_said(alice: User) -> None:
    client = as_(alice)
    reading = begin(client)
    artifacts.local_path(reading.artifact.sha256).unlink()
    data_readings.execute(reading)
    sentence = "The file is no longer in the store. Upload it again."
    assert page(client, reading).context["problem"] == sentence


def test_a_stranger_sees_no_reading(alice: User, charlie: User) -> None:
    assert page(as_(charlie), begin(as_(alice))).status_code == 404


def test_a_name_without_letters_is_refused_at_once(alice: User) -> None:
    client = as_(alice)
    client.post("/data/new/", {"file": SimpleUploadedFile("a.jsonl", JSONL)})
    form = {"file": Artifact.objects.get().sha256, "filename": "a.jsonl", "name": "…"} | COLUMNS
    assert "at least one letter or digit" in client.post("/data/new/", form).context["problem"]
    assert not DataReading.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_saved_file_is_read_by_the_server_itself(alice: User) -> None:
    client = as_(alice)
    reading = begin(client)
    while page(client, reading).status_code == 200:
        pass
    assert DataSet.objects.get().problem_count == 2


@pytest.mark.django_db(transaction=True)
def test_the_page_lets_a_lost_reading_start_again(alice: User) -> None:
    """As after a restart of the web server: nobody reads, and only the page asks."""
    client = as_(alice)
    upload(client, JSONL)
    artifact = Artifact.objects.get()
    reading = DataReading.objects.create(
        team=artifact.team,
        name="sums",
        artifact=artifact,
        filename="sums.jsonl",
        columns={"question": "q", "answer": "a"},
        verifier={"kind": "numeric"},
        heartbeat_at=timezone.now() - 2 * LOST,
    )
    while page(client, reading).status_code == 200:
        pass
    assert DataSet.objects.get().name == "sums"


def test_a_reading_that_fails_by_a_mistake_of_ours_ends(alice: User) -> None:
    """Its page would otherwise start it again every half a minute."""
    reading = begin(as_(alice))

    def fail(row: DataReading) -> None:
        raise RuntimeError("a mistake")

    rows = WaitingRows(DataReading, fail, 1)
    assert rows.execute_next() and not rows.execute_next()
    reading.refresh_from_db()
    assert reading.ended_at is not None and reading.problem == FAILED
