"""Files that clients log are stored under their run, within limits, and read back as they were."""

from __future__ import annotations

import itertools
import json
import socket
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.clients.conftest import LONGEST_FILE, Script, only_run
from tests.webapp.conftest import member
from webapp.access import api_tokens
from webapp.access.models import Role, Scope, Team, User
from webapp.api.app import MOST_UPLOADS
from webapp.clients import run_files
from webapp.clients.models import RunFile
from webapp.library import artifacts
from webapp.library.models import Artifact
from webapp.runs.models import Event, Run

pytestmark = pytest.mark.django_db(transaction=True)
http = httpx2.Client(timeout=60)
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


def test_mlflows_client_stores_files_and_reads_them_back(
    site: str, token: str, script: Script
) -> None:
    output = script("mlflow_files.py", site, token)

    run = only_run()
    sizes = dict(run.files.values_list("path", "artifact__size"))
    assert sizes["copy/a b+c%.bin"] == 256_000 and sizes["copy/deep/ä.txt"] == 4
    assert "large.bin" not in sizes and "old/gone.txt" not in sizes
    assert "large.bin has 1,048,577 bytes; a file of a run may have 1,048,576 (1.0 MiB)." in output
    said = dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)
    assert ["notes", True] in json.loads(said["root"]) and said["a file"] == "[]"
    assert json.loads(said["copy"]) == [["copy/a b+c%.bin", 256_000], ["copy/deep", None]]
    assert json.loads(said["text"]) == "2 + 2 = 4\n"
    assert json.loads(said["dict"]) == {"lr": 0.1, "layers": [1, 2]}
    assert said["image"] == "[6, 4]"
    assert json.loads(said["table"]) == [["1 + 1?", 2], ["2 + 2?", 4], ["3 + 3?", 6]]
    assert said["downloaded"] == '"deep"' and json.loads(said["model"]) == ["ä.txt"]
    assert said["deleted"] == "false"


class Files:
    """The files of a run by MLflow's proxy."""

    def __init__(self, site: str, token: str) -> None:
        self.site, self.headers = site, {"Authorization": f"Bearer {token}"}
        created = http.post(f"{site}/api/2.0/mlflow/runs/create", headers=self.headers, json={})
        self.uri = created.json()["run"]["info"]["artifact_uri"]
        self.folder = self.uri.removeprefix("mlflow-artifacts:/")

    def ask(self, method: str, path: str, content: bytes = b"", **more: Any) -> httpx2.Response:
        address = f"{self.site}{PROXY}/{self.folder}/{path}"
        return http.request(method, address, content=content, **{"headers": self.headers, **more})

    def paths(self, folder: str) -> list[str]:
        answer = http.get(self.site + PROXY, headers=self.headers, params={"path": folder})
        return [file["path"] for file in answer.json()["files"]]


@pytest.fixture
def files(site: str, token: str) -> Files:
    return Files(site, token)


def test_the_same_file_again_changes_nothing_and_another_replaces_it(files: Files) -> None:
    for _ in range(2):
        assert files.ask("PUT", "a/b.txt", b"first").status_code == 200
    first = RunFile.objects.get()
    assert files.ask("PUT", "a/b.txt", b"first").json() == {}
    assert RunFile.objects.get().logged_at == first.logged_at
    assert files.ask("PUT", "a/b.txt", b"second").status_code == 200
    answer = files.ask("GET", "a/b.txt")
    assert answer.content == b"second" and RunFile.objects.count() == 1
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert files.paths(files.folder) == ["a"] and files.paths(f"{files.folder}/a") == ["b.txt"]


@pytest.mark.parametrize(
    "path",
    [
        "..%2F..%2Fmanage.py",
        "%2e%2e/x",
        "a/%2e%2e/%2e%2e/x",
        "a//b",
        "%2Fetc/passwd",
        "a%00b",
        "a%5C..%5Cb",
        "x/" * 40 + "x",
        "x" * 600,
    ],
)
def test_a_path_that_leaves_the_run_or_is_too_long_is_refused(files: Files, path: str) -> None:
    answer = files.ask("PUT", path, b"x")
    assert answer.status_code in (400, 404) and answer.json()["message"]
    assert not RunFile.objects.exists() and not Artifact.objects.exists()
    assert files.ask("GET", path).status_code in (400, 404)


def test_a_name_is_that_of_a_file_or_of_a_folder(files: Files) -> None:
    assert files.ask("PUT", "a/b", b"x").status_code == 200
    for path in ("a", "a/b/c"):
        assert "of a file and of a folder" in files.ask("PUT", path, b"x").json()["message"]


def test_the_files_of_a_run_have_a_limit_together(files: Files) -> None:
    for number in range(4):
        content = bytes([number]) * LONGEST_FILE
        assert files.ask("PUT", f"{number}.bin", content).status_code == 200
    full = files.ask("PUT", "4.bin", b"x")
    assert full.status_code == 400
    assert "those of a run may have 4,194,304 (4.0 MiB)." in full.json()["message"]
    # One that takes the place of another needs no more room.
    assert files.ask("PUT", "3.bin", bytes([9]) * LONGEST_FILE).status_code == 200
    assert files.ask("DELETE", "0.bin").status_code == 200
    assert files.ask("PUT", "4.bin", b"x").status_code == 200


def test_a_file_that_is_too_long_is_refused_after_all_of_it_was_read(files: Files) -> None:
    """Also one of unknown length: an answer before its end would be lost with the connection."""
    content = bytes(20 * LONGEST_FILE)
    answers = [
        files.ask("PUT", "x", content),
        http.put(
            f"{files.site}{PROXY}/{files.folder}/x",
            headers=files.headers,
            content=iter([content, b"x"]),
        ),
    ]
    for answer in answers:
        assert answer.status_code == 400 and "may have 1,048,576" in answer.json()["message"]
    assert not Artifact.objects.exists()


def test_files_are_those_of_the_tokens_team_and_a_reading_token_reads(
    site: str, still: Team, erin: User, files: Files
) -> None:
    files.ask("PUT", "a.txt", b"ours")
    other = Team.objects.create(name="Other", slug="other")
    charlie = member("charlie@other.example", "Charlie", other, Role.ADMIN)
    stranger = {"Authorization": f"Bearer {api_tokens.make(other, 't', Scope.LOG, charlie)}"}
    for method in ("GET", "PUT", "DELETE"):
        assert files.ask(method, "a.txt", headers=stranger).status_code == 404
    reader = {"Authorization": f"Bearer {api_tokens.make(still, 'r', Scope.READ, erin)}"}
    assert files.ask("GET", "a.txt", headers=reader).content == b"ours"
    for method in ("PUT", "DELETE"):
        assert files.ask(method, "a.txt", headers=reader).status_code == 403


def test_a_team_that_sends_slowly_keeps_no_other_waiting(site: str, files: Files) -> None:
    other = Team.objects.create(name="Other", slug="other")
    charlie = member("charlie@other.example", "Charlie", other, Role.ADMIN)
    theirs = Files(site, api_tokens.make(other, "t", Scope.LOG, charlie))
    address = urlsplit(site)
    with ExitStack() as stack:
        for number in itertools.count():
            slow = stack.enter_context(
                socket.create_connection((address.hostname or "", address.port or 0))
            )
            head = f"PUT {PROXY}/{files.folder}/{number} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            authorization = f"Authorization: {files.headers['Authorization']}\r\n"
            slow.sendall(f"{head}{authorization}Content-Length: 9\r\n\r\nx".encode())
            # The server may not have read all of their heads yet.
            if (answer := files.ask("PUT", "next", b"x")).status_code != 200:
                break
            assert number < 20 * MOST_UPLOADS
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert theirs.ask("PUT", "next", b"x").status_code == 200
    while files.ask("PUT", "next", b"x").status_code != 200:
        pass


def test_a_large_file_is_sent_in_one_piece_if_the_client_asks_for_parts(files: Files) -> None:
    """The beginning of the sentence is what MLflow's client looks for."""
    answer = http.post(
        f"{files.site}/api/2.0/mlflow-artifacts/mpu/create/{files.folder}/x",
        headers=files.headers,
        json={"path": "x", "num_parts": 2},
    )
    assert answer.status_code == 404
    assert answer.json()["message"].startswith("Multipart upload is not supported for the current")


def test_the_files_go_with_their_run(files: Files, still: Team) -> None:
    files.ask("PUT", "a.txt", b"first")
    files.ask("PUT", "a.txt", b"second")
    Artifact.objects.update(stored_at="2020-01-01T00:00:00Z")
    assert artifacts.collect() == 1
    assert files.ask("GET", "a.txt").content == b"second"
    Run.objects.get().delete()
    assert artifacts.collect() == 1 and not Artifact.objects.exists()


def named(site: str, token: str, path: str, **changes: Any) -> httpx2.Response:
    """Name an uploaded file as Trackio's client does."""
    upload = {
        "project": "p",
        "run": "r",
        "run_id": "r",
        "step": 3,
        "relative_path": None,
        "uploaded_file": {"path": path, "orig_name": "x.png"},
        **changes,
    }
    body = json.dumps({"args": [], "kwargs": {"uploads": [upload], "hf_token": None}})
    headers = {"X-Trackio-Write-Token": token}
    return http.post(f"{site}/api/bulk_upload_media", headers=headers, content=body)


def uploaded(site: str, token: str, content: bytes) -> str:
    headers = {"X-Trackio-Write-Token": token}
    answer = http.post(f"{site}/api/upload", headers=headers, files={"files": ("x.png", content)})
    return str(answer.json()["paths"][0])


def test_a_file_of_trackio_is_stored_once_and_only_by_whoever_sent_it(
    site: str, token: str, still: Team
) -> None:
    path = uploaded(site, token, b"pixels")
    for _ in range(2):
        assert named(site, token, path).status_code == 200
    assert [
        (file.path, file.artifact and file.artifact.size) for file in only_run().files.all()
    ] == [("media/3/x.png", 6)]
    other = Team.objects.create(name="Other", slug="other")
    charlie = member("charlie@other.example", "Charlie", other, Role.ADMIN)
    stranger = api_tokens.make(other, "t", Scope.LOG, charlie)
    sha256 = Artifact.objects.get().sha256
    for forged in (path, sha256, f"{path}x", "", "../../etc/passwd", "\ud800:x:y"):
        answer = named(site, stranger, forged)
        assert answer.status_code == 400 and "Send the file again" in answer.json()["error"]
    assert Run.objects.count() == 1


def test_a_name_in_a_file_of_trackio_cannot_leave_its_run(site: str, token: str) -> None:
    path = uploaded(site, token, b"x")
    for name in ("../../x.png", "..", "a/b/c.png", "a\\..\\b.png", "\0", "\ud800", "n" * 900):
        file = {"path": path, "orig_name": name}
        assert named(site, token, path, uploaded_file=file).status_code == 200
    for stored in only_run().files.all():
        assert run_files.checked_path(stored.path).startswith("media/3/")


def test_a_file_of_trackio_beyond_the_limit_is_said_in_the_runs_log_once(
    site: str, token: str
) -> None:
    """A refusal would make its client send the file again with every start."""
    path = uploaded(site, token, bytes(2 * LONGEST_FILE))
    for _ in range(2):
        assert named(site, token, path).status_code == 200
    line = Event.objects.get(type="log")
    assert "media/3/x.png has 2,09" in line.payload["message"]
    assert "may have 1,048,576" in line.payload["message"]
    assert not RunFile.objects.exists()


def test_what_is_no_file_is_refused_in_words(site: str, token: str) -> None:
    headers = {"X-Trackio-Write-Token": token}
    for kind in ("text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "ü"):
        answer = http.post(
            f"{site}/api/upload",
            headers=[*headers.items(), ("Content-Type", kind.encode())],  # type: ignore[arg-type]
            content=b"--x\r\n\r\nno file",
        )
        assert answer.status_code == 400 and "part `files`" in answer.json()["error"], kind


def test_a_form_of_too_many_files_is_refused_in_words(site: str, token: str) -> None:
    headers = {"X-Trackio-Write-Token": token}
    files = [("files", (f"{number}.png", b"x")) for number in range(300)]
    answer = http.post(f"{site}/api/upload", headers=headers, files=files)
    assert answer.status_code == 400 and "part `files`" in answer.json()["error"]
