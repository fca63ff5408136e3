"""Addresses of pages: any query of the list of runs, of a run's pages and of all other pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import quote_from_bytes

from tests.fuzz import mutation, world
from tests.fuzz.inputs import Input, Read, Target
from tests.webapp.recorded import recorded
from webapp.clients import runs
from webapp.clients.client_batch import ClientBatch, LoggedValues, RunAddress
from webapp.clients.record import record
from webapp.pages.runs.run_list import PAGE_SIZE
from webapp.runs.models import Run

ADDRESS, QUERY = "address", "query"
# Parameters of each page, `RUN` standing for the id of a run; a page gets those of others too.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "/": ("q", "state", "source", "project", "before"),
    "/runs/RUN/": (),
    "/runs/RUN/rollouts/": ("problem", "step", "verdict", "truncated", "source", "order", "page"),
    "/runs/RUN/rollouts/1/20/0/": (),
    "/runs/RUN/frontier/": ("kind", "page"),
    "/runs/RUN/calibration/": ("readout", "step"),
    "/runs/RUN/tokens/": ("step",),
    "/runs/RUN/privileged/": ("step",),
    "/runs/RUN/log/": ("level", "page", "before", "after"),
    "/runs/RUN/log.txt": ("level",),
    "/runs/RUN/series.json": ("key", "keys", "axis", "from", "to", "width", "abandoned"),
    "/runs/RUN/series.csv": ("key", "keys", "abandoned"),
    "/runs/RUN/series.parquet": ("key", "abandoned"),
    "/runs/RUN/config/": (),
    "/runs/RUN/checkpoints/": (),
    "/runs/new/": ("recipe", "preset", "clone", "data", "mode"),
    "/jobs/": (),
    "/jobs/new/": ("run", "data", "model", "kind", "mode", "checkpoint", "step"),
    "/data/": (),
    "/data/new/": ("file", "name", "filename", "question", "answer", "choices"),
    "/models/": (),
    "/queue/": (),
    "/machines/": (),
    "/recipes/paced/": (),
    "/sign-in/": ("next",),
}
NAMES = sorted({name for names in PARAMETERS.values() for name in names})
VALUES = (
    *("1", "0", "-1", "10", "queued", "completed", "silent", "archived", "client", "imported"),
    *("loss", "eval/pass_rate", "step", "tokens", "wall_time", "p07", "correct", "student"),
    *("newest", "divergence", "longest", "warning", "mastered", "answer", "paced", "sample"),
    *("9223372036854775807", "9" * 18, "9" * 19, "1e5", "1e308", "-inf", "nan", "0.5", "p0", "run"),
    *("%", "_", "\\", "%%", "a%_b", "'; --", "run seed", "a " * 2000, "é" * 500, "//evil.example"),
)
SEEDS: list[Input] = [
    *({ADDRESS: address.encode(), QUERY: b""} for address in PARAMETERS),
    {ADDRESS: b"/", QUERY: b"q=seed+paced&state=completed&source=managed&before=99"},
    {ADDRESS: b"/", QUERY: b"q=run&project=p&state=silent"},
    {ADDRESS: b"/runs/RUN/rollouts/", QUERY: b"problem=p07&step=10&verdict=correct&order=longest"},
    {
        ADDRESS: b"/runs/RUN/series.json",
        QUERY: b"keys=loss,entropy/mean&axis=tokens&width=50&from=1",
    },
    {ADDRESS: b"/runs/CLIENT/series.json", QUERY: b"key=loss&axis=wall_time"},
]


@contextmanager
def open_target(folder: Path) -> Iterator[Read]:
    with world.opened(folder) as opened:
        run = recorded(opened.team, opened.editor, folder / "attempt")
        ids = {b"RUN": run.public_id.encode(), b"CLIENT": _logged(opened).public_id.encode()}

        def read(input: Input, files: Path) -> str:
            address = input.get(ADDRESS, b"/")
            for word, public_id in ids.items():
                address = address.replace(word, public_id)
            with world.undone():
                query = input.get(QUERY, b"").decode("latin-1")
                answer = opened.get(quote_from_bytes(address, "/%"), query)
            return f"{input.get(ADDRESS, b'')[:100]!r} {answer}"

        yield read


def _logged(opened: world.World) -> Run:
    """A run that a client has logged, beside enough others for a second page of the list."""
    Run.objects.bulk_create(
        Run(team=opened.team, owner=opened.editor, name=f"run {n} " + "%_\\'é"[n % 5])
        for n in range(PAGE_SIZE)
    )
    address = RunAddress(opened.team.pk, opened.editor.pk, "p%", "trackio", "logged", "logged")
    values = [0.5, float("nan"), float("-inf"), 1.0]
    logs = [LoggedValues({"loss": value}, step, 1.7e9) for step, value in enumerate(values)]
    run_id = runs.at(address)
    record({run_id: [ClientBatch(address, logs)]})
    return Run.objects.get(pk=run_id)


def make(random: Random, known: list[Input]) -> Input:
    if random.random() < 0.3:
        input = dict(random.choice(known))
        name = random.choice((ADDRESS, QUERY, QUERY, QUERY))
        input[name] = mutation.changed_bytes(random, input.get(name, b""))[:8000]
        return input
    # Half of all inputs ask for the list of runs.
    address = "/" if random.random() < 0.5 else random.choice(list(PARAMETERS))
    names = random.choices(PARAMETERS[address] or NAMES, k=random.choice((1, 2, 3, 6)))
    if random.random() < 0.1:
        names += random.choices(NAMES, k=3)
    pairs = (f"{name}=".encode() + _value(random) for name in names)
    return {ADDRESS: address.encode(), QUERY: b"&".join(pairs)[:30_000]}


def _value(random: Random) -> bytes:
    text = random.choice(VALUES) if random.random() < 0.6 else mutation.text(random)[:3000]
    content = text.encode("utf-8", "surrogatepass")
    if random.random() < 0.2:
        content = mutation.changed_bytes(random, content)[:3000]
    return quote_from_bytes(content).encode()


TARGET = Target(SEEDS, make, open_target)
