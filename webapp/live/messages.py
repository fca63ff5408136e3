"""All messages of the live socket in both directions, shared by server, tests and JSON schema.

`python -m webapp.live.messages` writes `messages.schema.json`; the JavaScript tests check both
sides against it. `node tests/js/message_types.js` then writes the types of the pages' code,
`types/live_messages.d.ts`.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from trainer import json_numbers

# Bytes of a client's message: a subscription of MOST_KEYS names of 120 characters fits.
LARGEST = 64 * 1024
# Bytes of a server's frame. Python's `websockets`, for example, refuses larger ones by default.
LARGEST_FRAME = 1024 * 1024
MOST_KEYS = 500
SCHEMA = Path(__file__).with_name("messages.schema.json")

RunId = Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")]
# Postgres refuses a query with a NUL, which would be taken for an outage.
Key = Annotated[str, Field(max_length=120, pattern=r"^[^\x00]*$")]
Cursor = Annotated[int, Field(ge=0, lt=2**63)]
Value = Annotated[
    float,
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": list(json_numbers.NUMBER_BY_NAME)}]}),
]


class BadMessage(ValueError):
    """The client's frame is not a valid message; the text of the error is the reason."""


class Message(BaseModel):
    """A message without unknown fields; NaN, Infinity and -Infinity are written as strings."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan=json_numbers.PYDANTIC_MODE)


# What a client says


class Subscribe(Message):
    """Follow a run from batch `since` on; replaces an earlier subscription to it.

    `keys` null selects every series.
    """

    type: Literal["subscribe"]
    run: RunId
    keys: Annotated[list[Key], Field(max_length=MOST_KEYS)] | None = None
    since: Cursor = 0
    width: Annotated[int, Field(ge=10, le=4000)] = 1000


class Unsubscribe(Message):
    type: Literal["unsubscribe"]
    run: RunId


class SubscribeList(Message):
    """Follow the newest runs of the current team."""

    type: Literal["subscribe_list"]


class SubscribeJobs(Message):
    """Follow the running jobs of the current team."""

    type: Literal["subscribe_jobs"]


class Ping(Message):
    """Ask for a sign of life. A page sends it after a long silence about a running run."""

    type: Literal["ping"]


ClientMessage = Annotated[
    Subscribe | Unsubscribe | SubscribeList | SubscribeJobs | Ping, Field(discriminator="type")
]


# What the server says


class State(Message):
    """What headers and lists show of a run.

    `word` is the state as people read it: a queued run may be held, a running one logging. `edits`
    counts the changes of name, notes, tags, pin and archive. `last_event_at` is by the database's
    clock; `behind_s` is its age while more events wait.
    """

    state: str
    word: str
    step: int
    total_steps: int | None
    phase: str
    eta_s: float | None
    reason: str
    remedy: str
    attempt: int
    last_event_at: datetime | None
    behind_s: float | None
    summary: dict[str, Any]
    edits: int = 0


class Points(Message):
    """New points of one series: `y[i]` at step `x[i]`."""

    key: str
    x: list[float]
    y: list[Value]


class Buckets(Message):
    """A whole series: `count` points in as many buckets as `x` has entries.

    `marks` are (step, value) of values that are not finite.
    """

    key: str
    x: list[float]
    mean: list[Value]
    min: list[Value]
    max: list[Value]
    last: list[Value]
    count: int
    marks: list[tuple[float, Value]]


class News(Message):
    """Everything up to batch `cursor`, complete with part `parts - 1`.

    `changed` names the parts of the page to load again; `now` is the database's clock.
    """

    run: RunId
    cursor: Cursor
    part: Annotated[int, Field(ge=0)]
    parts: Annotated[int, Field(ge=1)]
    now: datetime
    state: State
    changed: list[str]


class Delta(News):
    """The points between the client's cursor and this one."""

    type: Literal["delta"]
    series: list[Points]


class Reset(News):
    """Replaces all data of the client, from part 0 on: each series in about `width` buckets."""

    type: Literal["reset"]
    width: int
    series: list[Buckets]


class Row(State):
    run: RunId
    name: str


class Runs(Message):
    """Rows of the list that changed or are new to this client.

    `removed`: a run that this client has heard of was deleted, or is too old for the list now.
    """

    type: Literal["runs"]
    now: datetime
    rows: list[Row]
    removed: bool = False


class JobRow(Message):
    """Progress of a job: problems answered, parts done, and copies of parts that are running."""

    job: RunId
    done: int
    parts_done: int
    at_work: int


class Jobs(Message):
    """All running jobs, sent at once and at each change. A job that has ended is not listed."""

    type: Literal["jobs"]
    now: datetime
    rows: list[JobRow]


class Refused(Message):
    """This subscription has ended, or was not allowed."""

    type: Literal["refused"]
    run: RunId
    message: str


class Stalled(Message):
    """The server cannot read its database now. It tries again; the next frame ends the outage."""

    type: Literal["stalled"]
    message: str


class Pong(Message):
    type: Literal["pong"]


class Mistake(Message):
    """The client's last message was invalid."""

    type: Literal["error"]
    message: str


ServerMessage = Annotated[
    Delta | Reset | Runs | Jobs | Refused | Stalled | Pong | Mistake, Field(discriminator="type")
]

from_client: TypeAdapter[Subscribe | Unsubscribe | SubscribeList | SubscribeJobs | Ping] = (
    TypeAdapter(ClientMessage)
)
from_server: TypeAdapter[Delta | Reset | Runs | Jobs | Refused | Stalled | Pong | Mistake] = (
    TypeAdapter(ServerMessage)
)


def parse(text: str | None) -> Subscribe | Unsubscribe | SubscribeList | SubscribeJobs | Ping:
    """Parse a client's text frame. Raises BadMessage."""
    if text is None:
        raise BadMessage("Only text frames with JSON are understood.")
    try:
        return from_client.validate_json(text)
    except ValidationError as problem:
        # The input is left out of the answer, because it may be long.
        first = problem.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadMessage(
            f"This message is not understood: {where + ': ' if where else ''}{first['msg']}"
        ) from None


def schema() -> str:
    """JSON Schema of both directions: `$defs/ClientMessage` and `$defs/ServerMessage`."""
    sides: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = [
        ("ClientMessage", "validation", from_client),
        ("ServerMessage", "validation", from_server),
    ]
    schema_by_side, shared = TypeAdapter.json_schemas(sides)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The live socket's messages",
        "$defs": shared["$defs"]
        | {name: schema_by_side[name, "validation"] for name, _, _ in sides},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
