"""An installation that was recorded before a refactoring migrates and shows every page as before.

What is expected here was read from the recorded installation itself (see `recorded/README.md`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import NamedTuple

import pytest
from django.apps import apps
from django.test import Client

from tests.upgrade.conftest import Installation, count_rows, manage
from tests.upgrade.pages import REDIRECTS, Sample, content_of, crawl, read_page

pytestmark = pytest.mark.usefixtures("installation")

PASSWORD = "recorded still password"
OTHER_TEAMS_RUN = "nhqcqeqfcf"


class RecordedRun(NamedTuple):
    """`losses` is the number of points of the key `loss`, without those before a rewind."""

    public_id: str
    name: str
    state: str
    losses: int


RUNS = [
    RecordedRun("pp5jhcm3fn", "PACED on sums", "completed", 36),
    RecordedRun("trd7mt5ju8", "OPSD with LoRA", "completed", 12),
    RecordedRun("t383h5gqug", "TIP on sums", "completed", 14),
    RecordedRun("smrncw7fkm", "CaOPD on sums", "completed", 8),
    RecordedRun("ktmbuart8z", "On the team's own data", "completed", 12),
    RecordedRun("qja2wtxde2", "Fails on purpose", "failed", 4),
    RecordedRun("en3czn555y", "On two machines", "completed", 14),
    RecordedRun("69srm6bht9", "first", "running", 51),
    RecordedRun("qa7jkxuajf", "first", "completed", 61),
    RecordedRun("ka44smcmq2", "long and growing", "running", 1600),
    RecordedRun("vn6evx3ac3", "wandb-history", "stopped", 12000),
    RecordedRun("53vyg9tnx2", "train/eval", "stopped", 20),
    RecordedRun("f58ze5vrxp", "train", "stopped", 20),
    RecordedRun("45xeb8gk69", "By the command line", "completed", 12),
    RecordedRun("w33c8hmdwp", "At work when it was recorded", "running", 5),
    RecordedRun("gx76fwns8c", "Paused in the queue", "paused", 0),
    RecordedRun("w52adzx9am", "On hold", "queued", 0),
    RecordedRun("wc7v8jcxkj", "Urgent", "queued", 0),
    RecordedRun("93fu5q6skd", "Waits first", "queued", 0),
    RecordedRun("q7d6cujtbc", "Waits second", "queued", 0),
    RecordedRun("gbbapx6rfq", "CaOPD on sums", "queued", 0),
    RecordedRun("z2dtmex7fd", "Asks for three machines", "queued", 0),
]
# Links were made with expiry dates in 2099. Nothing but this test accepts the tokens.
SHARED = [
    ("pp5jhcm3fn", "eEMHuMcFSo1iHdZgqGFTxKwAra5o_2VTXgQXsuKKHR8"),
    ("smrncw7fkm", "S0kH3zDJYn8iXDv0v0Sjbvt6fnVAboQx5zAysAaoNnE"),
    ("ka44smcmq2", "KOlCaV9wEHl6HLLZgzEDUjwnHAXAycBPKMtxThgSKV0"),
]
REVOKED = "yDhPBNBY85MuHRd0j5qUOa5K3PUTbsaZjdzp_7-vl_I"
EXPIRED = "9UsWm2w4mIQfuGUQNcTmrEjszkiFR3YO2C0mwFTx8Jc"
INVITATION = "hNSQMKnQdSL93xmzwt8A36OykyRCxcCRghUfq9Awb2w"
SIGN_IN_LINK = "g8KnyYESFBD_5sVxuwRN1NStWApQF9ix7ZAnuMHl_WQ"
# Weights of other checkpoints are too large to be kept with the dump.
DOWNLOADABLE = "/runs/trd7mt5ju8/"
COMMON_TABS = {"", "rollouts", "log", "config", "checkpoints"}
TABS_OF_CLIENT_RUNS = {"", "log", "config"}
TABS = {
    "PACED on sums": COMMON_TABS | {"frontier", "calibration", "tokens"},
    "OPSD with LoRA": COMMON_TABS | {"privileged", "calibration", "tokens"},
    "TIP on sums": COMMON_TABS | {"calibration", "tokens"},
    "CaOPD on sums": COMMON_TABS | {"privileged", "calibration"},
    "On the team's own data": COMMON_TABS | {"frontier", "calibration"},
    "Fails on purpose": COMMON_TABS | {"calibration", "tokens"},
    "On two machines": COMMON_TABS | {"calibration"},
    "By the command line": COMMON_TABS | {"calibration", "tokens"},
    "first": TABS_OF_CLIENT_RUNS,
    "long and growing": TABS_OF_CLIENT_RUNS,
    "wandb-history": TABS_OF_CLIENT_RUNS,
    "train/eval": TABS_OF_CLIENT_RUNS,
    "train": TABS_OF_CLIENT_RUNS,
}
# How many pages of each kind the links lead to, at least (there are more: see `Visits`).
LEAST_PAGES = {
    r"/runs/\w{10}/rollouts/\d+/\d+/\d+/": 30,
    r"/runs/\w{10}/checkpoints/\d+/download/": 2,
    r"/runs/\w{10}/share/": 22,
    r"/jobs/(?!new)\w+/": 5,
    r"/jobs/\w+/results\.(csv|jsonl|parquet)": 12,
    r"/data/\d+/": 2,
}
# Figures of the panels, as text: they come from payloads in the database and from stored files.
FIGURES = {
    "/runs/pp5jhcm3fn/": "95.8 91.7 29.2 37.5 83.3 70.8",
    "/runs/pp5jhcm3fn/frontier/": "15.0 42.5 67.3 1.21 0.911",
    "/runs/pp5jhcm3fn/rollouts/3/86/0/": "73+74=? 0.633 0.057 0.455 0.649",
    "/runs/pp5jhcm3fn/checkpoints/": "0.006 0.013 0.016 0.046 0.053",
    "/runs/trd7mt5ju8/privileged/": "95.8 79.8 99.3 14.9 49.2 71.7",
    "/runs/t383h5gqug/tokens/": "0.00056 0.0028 44.7 87.4 99.6",
    "/runs/smrncw7fkm/calibration/": "0.506 0.444 0.075 0.459 0.852 0.538",
    "/runs/ktmbuart8z/frontier/": "41-10=? 22.6 64.5 3.74 0.212 4.77",
    "/runs/qa7jkxuajf/config/": "0.1 small erin",
    "/jobs/krc5sx5w8x/": "75.6 63.4 87.8 19.2 47.5",
    "/jobs/gev34r6yhh/": "22.9 39.6 52.1 93.9 32.4",
    "/models/": "small-student 167,808",
    "/team/": "alice@still.example bob@still.example cluster notebook",
    "/machines/": "host-1 host-2",
}


def sign_in(name: str) -> Client:
    client = Client()
    assert client.login(username=f"{name}@still.example", password=PASSWORD)
    return client


@pytest.fixture(scope="module")
def alice(installation: Installation) -> Client:
    return sign_in("alice")


class Visits:
    """Which links are followed: a few of each kind where there are very many alike."""

    def __init__(self) -> None:
        self.many, self.few = Sample(12), Sample(4)

    def __call__(self, address: str) -> bool:
        if re.search(r"/checkpoints/\d+/download/", address):
            return address.startswith(DOWNLOADABLE)
        if address == "/data/new/preview/":
            return False  # is asked with the fields of its form
        sample = self.few if re.search(r"/(rollouts/|series\.)", address) else self.many
        return sample(address)


def failures(visited: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """The addresses that showed neither a page nor the way to another one."""
    return {
        address: answer
        for address, answer in visited.items()
        if answer[0] not in {200, *REDIRECTS} or answer[1].startswith("/sign-in/")
    }


def test_migrating_loses_no_row(installation: Installation) -> None:
    assert manage("migrate", "--check", environment=installation.environment) == 0
    assert installation.rows_before == count_rows() == 3338


def test_every_run_is_there() -> None:
    runs = apps.get_model("runs", "Run").objects.exclude(public_id=OTHER_TEAMS_RUN)
    rows = runs.order_by("pk").values_list("public_id", "name", "state")
    assert list(rows) == [(run.public_id, run.name, run.state) for run in RUNS]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_run_shows_its_name_its_state_and_its_curves(alice: Client, run: RecordedRun) -> None:
    page = read_page(alice.get(f"/runs/{run.public_id}/"))
    assert run.name in page.text
    assert run.state in page.values

    address = f"/runs/{run.public_id}/series"
    rows = list(csv.DictReader(io.StringIO(content_of(alice.get(f"{address}.csv")).decode())))
    losses = {row["step"] for row in rows if row["key"] == "loss"}
    assert len(losses) == run.losses

    curves = json.loads(content_of(alice.get(f"{address}.json?keys=loss")))["series"]
    assert [len(curve["x"]) > 0 for curve in curves] == [True] * (run.losses > 0)
    assert alice.get(f"{address}.parquet").status_code == 200


def test_every_page_that_a_link_leads_to_is_shown(alice: Client) -> None:
    visited = crawl(alice, "/", Visits())
    assert failures(visited) == {}

    paths = {address.partition("?")[0] for address in visited}
    for run in RUNS:
        base = f"/runs/{run.public_id}/"
        tabs = {f"{base}{tab}/" if tab else base for tab in TABS.get(run.name, COMMON_TABS)}
        assert tabs <= paths, run.name
    assert {"/team/", "/account/", "/jobs/", "/data/", "/models/", "/recipes/"} <= paths
    assert {"/queue/", "/machines/"} <= paths
    assert f"/runs/{OTHER_TEAMS_RUN}/" not in paths
    for kind, least in LEAST_PAGES.items():
        assert sum(re.fullmatch(kind, path) is not None for path in paths) >= least, kind


@pytest.mark.parametrize("address", FIGURES)
def test_a_page_shows_the_figures_that_were_recorded(alice: Client, address: str) -> None:
    text = read_page(alice.get(address)).text
    assert [figure for figure in FIGURES[address].split() if figure not in text] == []


def test_files_of_results_are_whole(alice: Client) -> None:
    frontier = json.loads(content_of(alice.get("/runs/pp5jhcm3fn/frontier.json")))
    assert len(frontier["columns"]) == 10
    rates = content_of(alice.get("/jobs/krc5sx5w8x/results.csv")).decode().splitlines()
    answers = content_of(alice.get("/jobs/b685nndmr4/results.jsonl")).decode().splitlines()
    assert (len(rates), len(answers)) == (1 + 41, 41)


@pytest.mark.parametrize("name", ["bob", "olga"])
def test_a_viewer_and_an_operator_see_their_pages(name: str) -> None:
    client = sign_in(name)
    addresses = ["/", "/queue/", "/machines/", "/jobs/", "/team/", "/account/", "/data/"]
    addresses += [f"/runs/{run.public_id}/" for run in RUNS]
    assert {address: client.get(address).status_code for address in addresses} == dict.fromkeys(
        addresses, 200
    )


@pytest.mark.parametrize(("public_id", "token"), SHARED, ids=lambda text: text)
def test_a_share_link_shows_its_run_and_no_other(public_id: str, token: str) -> None:
    guest = Client()
    base = f"/runs/{public_id}/"
    assert guest.get(base).status_code in {302, 404}
    visits = Visits()
    visited = crawl(
        guest, f"/s/{token}/", lambda address: address.startswith(base) and visits(address)
    )
    assert failures(visited) == {}
    assert {base, f"{base}log/", f"{base}config/"} <= visited.keys()
    (name,) = (run.name for run in RUNS if run.public_id == public_id)
    assert name in read_page(guest.get(base)).text
    other_ids = [run.public_id for run in RUNS if run.public_id != public_id]
    assert {guest.get(f"/runs/{other_id}/").status_code for other_id in other_ids} <= {302, 404}


@pytest.mark.parametrize("token", [REVOKED, EXPIRED], ids=["revoked", "expired"])
def test_an_ended_share_link_shows_nothing(token: str) -> None:
    assert Client().get(f"/s/{token}/").status_code == 410


def test_open_links_into_the_team_still_work() -> None:
    assert Client().get(f"/invitations/{INVITATION}/").status_code == 200
    assert Client().get(f"/sign-in/{SIGN_IN_LINK}/").status_code == 200
