"""Changes of selected runs: access for each run, what the answer says, confirmation and undo."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.webapp.conftest import SPEC
from tests.webapp.recorded import recorded
from trainer.spec.jobs import JobSpec
from webapp.access.models import Membership, Role, Team, User
from webapp.jobs import lifecycle as jobs
from webapp.jobs.models import Job
from webapp.runs import lifecycle
from webapp.runs.models import Run, State

ADDRESS = "/runs/selected/"


@pytest.fixture
def finished(still: Team, alice: User) -> list[Run]:
    """Three runs that have ended, without checkpoints."""
    runs = [lifecycle.create_run(still, alice, {**SPEC, "name": name}) for name in ("a", "b", "c")]
    Run.objects.update(state=State.STOPPED)
    return runs


def answer(client: Client, action: str, *runs: Run, **more: Any) -> str:
    """The text of the page after the form."""
    return page_after(client, {"action": action, "run": [run.public_id for run in runs], **more})


def page_after(client: Client, form: Mapping[str, Any]) -> str:
    return html.unescape(client.post(ADDRESS, form, follow=True).content.decode())


def undone(client: Client, page: str) -> str:
    """The text of the page after the Undo button of the message on `page`."""
    message = page.split('id="messages"')[1].split("</form>")[0]
    form: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', message):
        form.setdefault(name, []).append(value)
    return page_after(client, form)


def test_editors_tag_pin_and_archive_any_number_of_runs(
    client: Client, erin: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    assert "3 runs are tagged “new”." in answer(client, "tag", *finished, tag="new")
    assert "2 runs are pinned." in answer(client, "pin", *finished[:2])
    assert [(run.tags, run.pinned) for run in Run.objects.order_by("pk")] == [
        (["new"], True),
        (["new"], True),
        (["new"], False),
    ]
    page = answer(client, "archive", *finished[1:])
    assert "2 runs are archived." in page and page.count('data-run="') == 1
    assert answer(client, "restore", *finished).count('data-run="') == 3


def test_ids_may_be_repeated_or_separated_by_commas(
    client: Client, erin: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    ids = [run.public_id for run in finished]
    client.post(ADDRESS, {"action": "pin", "run": [f"{ids[0]},{ids[1]},", ids[1], ids[2]]})
    assert Run.objects.filter(pinned=True).count() == 3


def test_each_run_is_judged_by_the_persons_role_in_its_team(
    client: Client, bob: User, charlie: User, finished: list[Run], still: Team
) -> None:
    """Bob views here and edits there; what he cannot see is not told from what does not exist."""
    other = Team.objects.get(slug="other")
    Membership.objects.create(team=other, user=bob, role=Role.EDITOR)
    theirs = lifecycle.create_run(other, charlie, {**SPEC, "name": "theirs"})
    hidden = lifecycle.create_run(
        Team.objects.create(name="Third", slug="third"), None, {**SPEC, "name": "secret plan"}
    )
    client.force_login(bob)
    page = answer(client, "archive", finished[0], theirs, hidden)
    assert "“theirs” is archived." in page
    assert "2 runs were not changed. “a”: Your role in its team does not allow that." in page
    assert "1 selected run is not there any more, or not shown to you." in page
    assert "secret plan" not in page
    assert list(Run.objects.exclude(archived_at=None)) == [theirs]


@pytest.mark.parametrize("action", ["tag", "pin", "archive", "delete", "undelete"])
def test_a_stranger_changes_nothing(
    client: Client, charlie: User, finished: list[Run], action: str
) -> None:
    client.force_login(charlie)
    before = list(Run.objects.order_by("pk").values())
    answer(client, action, *finished, tag="new", confirmed="1")
    assert list(Run.objects.order_by("pk").values()) == before


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ({}, "Choose what to do with the runs"),
        ({"action": "explode", "run": "x"}, "Choose what to do with the runs"),
        ({"action": "pin"}, "No run is selected."),
        ({"action": "pin", "run": ["\0", " ,"]}, "No run is selected."),
        ({"action": "pin", "run": ",".join(f"r{i}" for i in range(501))}, "501 are selected"),
        ({"action": "tag", "run": "x", "tag": "a:b"}, "“a:b” is not a tag."),
        ({"action": "tag", "run": "x"}, "Type a tag."),
        ({"action": "pin", "run": "x\0y"}, "1 selected run is not there any more"),
    ],
)
def test_a_bad_form_is_answered_by_a_sentence(
    client: Client, erin: User, form: dict[str, Any], complaint: str
) -> None:
    client.force_login(erin)
    response = client.post(ADDRESS, form, follow=True)
    assert response.status_code == 200
    assert complaint in html.unescape(response.content.decode())


def test_a_form_leads_back_to_its_page_and_to_no_other_site(
    client: Client, erin: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    for target, location in (
        ("/?q=a", "/?q=a"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ):
        form = {"action": "pin", "run": finished[0].public_id, "next": target}
        assert client.post(ADDRESS, form)["Location"] == location


def test_a_deletion_is_first_shown_and_then_undone_from_its_message(
    client: Client, erin: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    page = answer(client, "delete", *finished[:2])
    assert "Delete 2 runs?" in page and "This can be undone for a day." in page
    assert not Run.objects.exclude(deleted_at=None).exists()
    page = answer(client, "delete", *finished[:2], confirmed="1")
    assert "2 runs are deleted." in page and page.count('data-run="') == 1
    assert {run.deleted_by for run in Run.objects.exclude(deleted_at=None)} == {erin}
    form = page.split('id="messages"')[1].split("</form>")[0]
    ids = form.split('name="run" value="')[1].split('"')[0]
    assert 'value="undelete"' in form
    page = html.unescape(
        client.post(ADDRESS, {"action": "undelete", "run": ids}, follow=True).content.decode()
    )
    assert "2 runs are restored." in page and page.count('data-run="') == 3


def test_undoing_an_archive_restores_only_what_it_archived(
    client: Client, erin: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    answer(client, "archive", finished[0])
    page = answer(client, "archive", *finished[:2])
    assert "2 runs are archived." in page
    ids = page.split('name="run" value="')[1].split('"')[0]
    assert ids == finished[1].public_id


@pytest.mark.parametrize("typed", ["new", "new, second"])
def test_undoing_tags_takes_only_what_was_added(
    client: Client, erin: User, finished: list[Run], typed: str
) -> None:
    client.force_login(erin)
    answer(client, "tag", finished[0], tag="new")
    before = list(Run.objects.order_by("pk").values_list("tags", flat=True))
    page = answer(client, "tag", *finished, tag=typed)
    assert "3 runs are tagged “new”" in page
    page = undone(client, page)
    assert re.search("runs are without the tag .*“new”", page)
    assert list(Run.objects.order_by("pk").values_list("tags", flat=True)) == before
    # The undo can be undone.
    assert re.search("runs are tagged .*“new”", undone(client, page))
    assert [len(run.tags) for run in Run.objects.all()] == 3 * [len(typed.split(","))]


def test_pins_and_restored_runs_can_be_undone(
    client: Client, erin: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    assert "no longer pinned." in undone(client, answer(client, "pin", *finished))
    page = undone(client, answer(client, "archive", *finished))
    assert "3 runs are restored from the archive." in page
    assert "3 runs are archived." in undone(client, page)


def test_runs_that_cannot_be_deleted_stay_and_are_named(
    client: Client, erin: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    Run.objects.filter(pk=finished[0].pk).update(state=State.RUNNING)
    page = answer(client, "delete", *finished)
    assert "Delete 2 runs?" in page and "<strong>a stays.</strong> Stop this run" in page
    page = answer(client, "delete", *finished, confirmed="1")
    assert "1 run was not changed. “a”: Stop this run before you delete it." in page
    assert Run.objects.filter(deleted_at=None).count() == 1


def test_a_run_with_checkpoints_is_deleted_only_by_its_name(
    client: Client, erin: User, still: Team, alice: User, tmp_path: Path
) -> None:
    run = recorded(still, alice, tmp_path)
    lifecycle.clone(run, still, alice)
    client.force_login(erin)
    page = html.unescape(client.get(f"/runs/{run.public_id}/delete/").content.decode())
    assert f"Type “{run.name}” to confirm" in page
    assert "1 run cloned from it stays" in page
    for typed in ("", "something else"):
        response = client.post(
            ADDRESS, {"action": "delete", "run": run.public_id, "confirmed": "1", "typed": typed}
        )
        assert response.status_code == 422
        assert f"Nothing was deleted. Type “{run.name}”" in response.content.decode()
    assert f"“{run.name}” is deleted." in answer(
        client, "delete", run, confirmed="1", typed=run.name
    )


def test_several_runs_with_checkpoints_are_deleted_by_their_number(
    client: Client, erin: User, still: Team, alice: User, finished: list[Run], tmp_path: Path
) -> None:
    runs = [recorded(still, alice, tmp_path), finished[0]]
    client.force_login(erin)
    page = answer(client, "delete", *runs)
    assert "Type “2 runs” to confirm" in page
    assert "1 of them holds checkpoints" in page and f"{runs[0].name}: 1 checkpoint<" in page
    assert "2 runs are deleted." in answer(client, "delete", *runs, confirmed="1", typed="2 runs")


def test_a_run_whose_checkpoint_a_running_job_reads_stays(
    client: Client, erin: User, still: Team, alice: User, finished: list[Run]
) -> None:
    job = jobs.create_job(still, alice, JobSpec(), 400, 1)
    model = {"model": {"checkpoint": f"checkpoint:{finished[0].public_id}@30"}}
    Job.objects.filter(pk=job.pk).update(spec={**job.spec, **model})
    client.force_login(erin)
    assert "A running job reads a checkpoint of this run." in answer(
        client, "delete", *finished, confirmed="1"
    )
    assert Run.objects.filter(deleted_at=None).get() == finished[0]


def test_every_page_of_a_deleted_run_says_so_to_those_who_may_restore_it(
    client: Client, erin: User, bob: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    answer(client, "delete", finished[0], confirmed="1")
    for page in ("", "log/", "series.json", "delete/", "notes/"):
        response = client.get(f"/runs/{finished[0].public_id}/{page}")
        text = html.unescape(response.content.decode())
        assert response.status_code == 404 and "This can be undone until" in text
        assert "“a” was deleted" in text and "Erin deleted it" in text
    client.force_login(bob)
    response = client.get(f"/runs/{finished[0].public_id}/")
    assert response.status_code == 404 and "deleted" not in response.content.decode()


def test_deleted_runs_are_listed_for_editors_of_their_team(
    client: Client, erin: User, charlie: User, finished: list[Run]
) -> None:
    client.force_login(erin)
    answer(client, "delete", *finished[:2], confirmed="1")
    page = client.get("/runs/deleted/").content.decode()
    assert page.count("Undo the deletion of") == 2
    client.post(ADDRESS, {"action": "undelete", "run": finished[1].public_id})
    assert client.get("/runs/deleted/").content.decode().count("Undo the deletion of") == 1
    client.force_login(charlie)
    assert "No deleted runs" in client.get("/runs/deleted/").content.decode()


@pytest.mark.parametrize("target", ["runs", "run", "?q=a", "https://elsewhere.example/", "//a.b"])
def test_a_form_leads_to_a_path_of_this_site(
    client: Client, erin: User, finished: list[Run], target: str
) -> None:
    client.force_login(erin)
    form = {"action": "pin", "run": finished[0].public_id, "next": target}
    assert client.post(ADDRESS, form)["Location"] == "/"
    form |= {"action": "unpin", "next": "/recipes/?a=b"}
    assert client.post(ADDRESS, form)["Location"] == "/recipes/?a=b"
