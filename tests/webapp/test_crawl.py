"""Every address × method × person, and every socket subscription × person, against
`access_table`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, transaction
from django.http import HttpResponseBase
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from tests.webapp import recorded
from tests.webapp.access_table import CAST, READING_POSTS, SOCKET, TABLE
from tests.webapp.conftest import member
from tests.webapp.sockets import Socket, quiet
from trainer.spec.jobs import JobSpec
from webapp.access import api_tokens, one_time_links
from webapp.access.models import ApiToken, Invitation, Membership, Role, Scope, Team, User
from webapp.clients.models import RunFile, RunImport
from webapp.comparisons import saving
from webapp.comparisons.choices import Choices
from webapp.experiments.models import Experiment
from webapp.jobs import lifecycle as jobs
from webapp.library import artifacts
from webapp.library.models import DataReading, DataSet, StoredModel
from webapp.nodes.models import Node
from webapp.runs.models import Run, SavedView
from webapp.sharing import links as sharing
from webapp.sharing.models import ShareLink

JOB_PAGES = ("job", "stop_job", "delete_job", "job_csv", "job_json_lines", "job_parquet")
COMPARISON_PAGES = (
    "comparison",
    "comparison_series",
    "save_comparison_changes",
    "delete_comparison",
    "share_comparison",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REFUSALS = {302, 401, 403, 404, 405}


class World:
    """A team with a finished run, somebody of each kind, and the arguments of every address."""

    def __init__(self, still: Team, people: dict[str, User], folder: Path) -> None:
        alice, bob = people["alice"], people["bob"]
        self.people = people
        self.run = recorded.recorded(still, alice, folder / "run")
        self.sibling = recorded.recorded(still, alice, folder / "sibling")
        self.token = sharing.share(self.run, alice, timedelta(days=1))
        own_link = ShareLink.objects.get()
        comparison = saving.save(still, alice, "both", [self.run, self.sibling], Choices())
        sharing.share(comparison, alice, timedelta(days=1))
        rollout = self.run.rollouts.first()
        assert rollout is not None
        (folder / "data").write_bytes(b"question,answer\n1 + 1?,2\n")
        artifact = artifacts.put(folder / "data", still)
        for run in (self.run, self.sibling):
            RunFile.objects.create(run=run, path="notes/a.txt", artifact=artifact)
        data = DataSet.objects.create(
            team=still,
            name="sums",
            artifact=artifact,
            fingerprint="f" * 64,
            filename="sums.csv",
            format="csv",
            problem_count=1,
        )
        ended_import = RunImport.objects.create(
            team=still, format="wandb", project="p", files=["a.csv"], ended_at=timezone.now()
        )
        reading = DataReading.objects.create(
            team=still,
            name="sums",
            artifact=artifact,
            filename="sums.csv",
            columns={},
            verifier={},
            heartbeat_at=timezone.now(),
        )
        experiment = Experiment.objects.create(
            team=still, name="sums", spec={}, arms=[{"name": "all", "changes": {}}], seeds=[0]
        )
        job = jobs.create_job(still, alice, JobSpec(), 400, 1)
        saved_view = SavedView.objects.create(team=still, name="By loss", query="sort=loss")
        node = Node.objects.create(name="elm", address="", cpus=1, memory_bytes=1)
        self.invitation = one_time_links.invite(still, Role.VIEWER, alice)
        runs = f"?runs={self.run.public_id},{self.sibling.public_id}"
        self.queries = {
            "preview_data": f"?file={artifact.sha256}&filename=sums.csv",
            "compare": runs,
            "compare_series": f"{runs}&key=loss",
            "side_by_side": f"?run={self.run.public_id}&kind=train&step=30&problem=p01",
        }
        self.places: dict[str, Any] = {
            "sign_in_link": {"token": one_time_links.make_sign_in_link(alice)},
            "invitation": {"token": self.invitation},
            "withdraw_invitation": {"invitation_id": Invitation.objects.get().pk},
            "change_role": {"membership_id": Membership.objects.get(user=bob).pk},
            "remove_member": {"membership_id": Membership.objects.get(user=people["erin"]).pk},
            "switch_team": {"slug": still.slug},
            "revoke_token": {"token_id": token_of(still, people["erin"]).pk},
            "shared": {"token": self.token},
            "revoke_share": {"run_id": self.run.public_id, "link_id": own_link.pk},
            "rollout": {
                "run_id": self.run.public_id,
                "attempt": rollout.attempt,
                "seq": rollout.seq,
                "offset": rollout.offset,
            },
            "checkpoint": {"run_id": self.run.public_id, "step": 30},
            "run_file": {"run_id": self.run.public_id, "path": "notes/a.txt"},
            "data_reading": {"reading_id": reading.pk},
            "run_import": {"import_id": ended_import.pk},
            "data_set": {"data_id": data.pk},
            **{name: {"data_id": data.pk} for name in ("delete_data", "hold_out", "mark_held_out")},
            "delete_model": {
                "model_id": StoredModel.objects.create(
                    team=self.run.team, name="small", hash="h1", manifest={}
                ).pk
            },
            **{page: {"job_id": job.public_id} for page in JOB_PAGES},
            **{
                name: {"experiment_id": experiment.public_id}
                for name in ("experiment", "stop_experiment", "repeat_run", "delete_experiment")
            },
            **{page: {"comparison_id": comparison.public_id} for page in COMPARISON_PAGES},
            "revoke_comparison_share": {
                "comparison_id": comparison.public_id,
                "link_id": ShareLink.objects.get(comparison=comparison).pk,
            },
            "recipe": {"name": "paced"},
            "reproduce": {"name": "paced", "experiment": "sample"},
            **{
                name: {"view_id": saved_view.pk}
                for name in ("saved_view", "change_view", "rename_view", "delete_view")
            },
            **{name: {"node_id": node.pk} for name in ("drain", "undrain", "forget")},
            "manual_page": {"name": "data"},
        }

    def address(self, name: str, run: Run | None = None) -> str:
        arguments = dict(self.places.get(name, {}))
        if "run_id" in names_in(name):
            arguments["run_id"] = (run or self.run).public_id
        return reverse(name, kwargs=arguments) + self.queries.get(name, "")

    def client(self, person: str, **options: Any) -> Client:
        client = Client(raise_request_exception=False, **options)
        if person == "guest":
            client.get(f"/s/{self.token}/")
        elif person != "anonymous":
            client.force_login(self.people[person])
        return client


def token_of(team: Team, maker: User) -> ApiToken:
    api_tokens.make(team, "cluster", Scope.LOG, maker)
    return ApiToken.objects.get()


@pytest.fixture(scope="module")
def _own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One store for the whole crawl, in place of one for each test."""
    store = {
        "BACKEND": "webapp.library.artifacts.AtomicFolder",
        "OPTIONS": {"location": tmp_path_factory.mktemp("store")},
    }
    with override_settings(STORAGES={**settings.STORAGES, "artifacts": store}):
        yield


@pytest.fixture(scope="module")
def world(
    _own_store: None,
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """Made once; what each request changes is taken back, and in the end everything."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_world(tmp_path_factory.mktemp("runs"))
        transaction.set_rollback(True)


def make_world(folder: Path) -> World:
    still, other_team = (
        Team.objects.create(name=name.title(), slug=name) for name in ("still", "other")
    )
    people = {
        "alice": member("alice@still.example", "Alice", still, Role.ADMIN),
        "erin": member("erin@still.example", "Erin", still, Role.EDITOR),
        "bob": member("bob@still.example", "Bob", still, Role.VIEWER),
        "charlie": member("charlie@other.example", "Charlie", other_team, Role.ADMIN),
    }
    return World(still, people, folder)


def patterns(resolver: URLResolver | None = None) -> Iterator[URLPattern]:
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            yield from patterns(entry)
        else:
            yield entry


def names_in(name: str) -> set[str]:
    return {
        argument
        for pattern in patterns()
        if pattern.name == name
        for argument in pattern.pattern.converters
    }


def outcome(response: HttpResponseBase) -> str:
    """In the words of the table."""
    status = response.status_code
    if status == 401 or (status == 302 and response.headers["Location"].startswith("/sign-in/?")):
        return "door"
    return {403: "no", 404: "none"}.get(
        status, "in" if status < 405 or status in (409, 410, 413, 422) else f"status {status}"
    )


def contents() -> str:
    """A digest of everything that is stored, sessions aside."""
    tables = [name for name in connection.introspection.table_names() if name != "django_session"]
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT '{name}', md5(string_agg(t::text, '' ORDER BY t::text)) FROM {name} t"
                for name in tables
            )
        )
        return hashlib.sha256(repr(sorted(cursor.fetchall())).encode()).hexdigest()


def undone(work: Callable[[], Any]) -> Any:
    """The result of `work`, whose changes are taken back."""
    with transaction.atomic():
        try:
            return work()
        finally:
            transaction.set_rollback(True)


def ask(world: World, person: str, method: str, address: str) -> HttpResponseBase:
    """The answer to somebody, read to its end, so that what is streamed is asked for too."""
    response: HttpResponseBase = undone(lambda: world.client(person).generic(method, address))
    return response


def test_every_address_has_a_row() -> None:
    names = {pattern.name for pattern in patterns()}
    assert None not in names, "every address needs a name"
    assert names == {name for name, _ in TABLE}


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "method"), list(TABLE), ids=lambda part: str(part))
def test_everybody_gets_what_the_table_says(world: World, name: str, method: str) -> None:
    address = world.address(name)
    expected = dict(zip(CAST, TABLE[name, method].split(), strict=True))
    assert {person: outcome(ask(world, person, method, address)) for person in CAST} == expected


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted({name for name, method in TABLE if method == "GET"}))
def test_head_is_as_get(world: World, name: str) -> None:
    for person in ("anonymous", "bob"):
        assert outcome(ask(world, person, "HEAD", world.address(name))) == outcome(
            ask(world, person, "GET", world.address(name))
        ), person


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted({name for name, _ in TABLE}))
def test_looking_changes_nothing_and_other_methods_are_refused(world: World, name: str) -> None:
    address, before = world.address(name), contents()
    for method in METHODS:
        listed = (name, "GET" if method == "HEAD" else method) in TABLE
        if listed and method not in ("GET", "HEAD") and name not in READING_POSTS:
            continue
        for person in ("anonymous", "alice"):
            with transaction.atomic():
                client = world.client(person)
                if person == "alice":
                    before = contents()  # signing in noted the time
                response = client.generic(method, address)
                assert listed or response.status_code in REFUSALS, (
                    method,
                    person,
                    response.status_code,
                )
                assert contents() == before, (method, person)
                transaction.set_rollback(True)
            before = contents()


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted({name for name, method in TABLE if method == "POST"}))
def test_no_form_of_another_site_is_obeyed(world: World, name: str) -> None:
    client = world.client("alice", enforce_csrf_checks=True)
    before = contents()
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert client.generic(method, world.address(name)).status_code == 403, method
    assert contents() == before


@pytest.mark.django_db
def test_a_share_link_opens_no_other_run(world: World) -> None:
    for name, method in TABLE:
        if "run_id" in names_in(name) and name not in ("rollout", "revoke_share"):
            result = outcome(ask(world, "guest", method, world.address(name, world.sibling)))
            assert result in ("none", "door"), (name, method)


@pytest.mark.django_db(transaction=True)
async def test_everybody_hears_on_the_socket_what_the_table_says(tmp_path: Path) -> None:
    world = await sync_to_async(make_world)(tmp_path)
    for question, row in SOCKET.items():
        expected = dict(zip(CAST, row.split(), strict=True))
        message_types = {
            person: await heard(
                await sync_to_async(world.client)(person), question, world.run, expected[person]
            )
            for person in CAST
        }
        assert message_types == expected, question
    await quiet()


async def heard(client: Client, question: str, run: Run, expected: str) -> str:
    """The type of the first frame; `silence` if that is expected and there is none for a moment.

    Any other frame is waited for, however slow this machine is.
    """
    socket = Socket(client)
    if not await socket.connect():
        return "closed"
    await socket.say(type=question, **({"run": run.public_id} if question == "subscribe" else {}))
    silent = expected == "silence" and await socket.receive_nothing(timeout=0.3)
    message_type = "silence" if silent else str((await socket.hear())["type"])
    await socket.disconnect()
    return message_type


MANAGER = re.compile(
    r"\.(objects|_default_manager|_base_manager)\b|get_user_model|connection\.cursor"
)


def test_views_and_consumers_ask_the_access_module_for_what_they_show() -> None:
    """Law 8: no view, API or consumer reaches past `permissions.visible` into a table."""
    root = Path(__file__).resolve().parents[2] / "webapp"
    guarded = [
        path
        for path in root.rglob("*.py")
        if path.stem in ("views", "consumer", "consumers", "api")
        or {"views", "api"} & set(path.parts)
    ]
    assert len(guarded) > 10
    direct_queries = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in guarded
        for line in path.read_text().splitlines()
        if MANAGER.search(line)
    ]
    assert direct_queries == []


def test_a_view_is_private_unless_it_is_marked() -> None:
    """Public doors are few, and each is written here."""
    public = {
        pattern.name
        for pattern in patterns()
        if not getattr(pattern.callback, "login_required", True)
    }
    assert public == {
        "healthz",
        "readyz",
        "metrics",
        "sign_in",
        "sign_in_link",
        "sign_out",
        "invitation",
        "shared",
    }
