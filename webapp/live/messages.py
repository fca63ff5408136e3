"""What a client may say on the live socket."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

LARGEST = 64 * 1024
RunId = Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")]


class BadMessage(ValueError):
    """A frame that says nothing that we understand; the message is the reason."""


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Subscribe(Message):
    type: Literal["subscribe"]
    run: RunId
    keys: Annotated[list[Annotated[str, Field(max_length=120)]], Field(max_length=500)] | None = None
    since: Annotated[int, Field(ge=0, lt=2**63)] = 0
    width: Annotated[int, Field(ge=10, le=4000)] = 1000


class Unsubscribe(Message):
    type: Literal["unsubscribe"]
    run: RunId


class SubscribeList(Message):
    type: Literal["subscribe_list"]


_messages: TypeAdapter[Subscribe | Unsubscribe | SubscribeList] = TypeAdapter(
    Annotated[Subscribe | Unsubscribe | SubscribeList, Field(discriminator="type")]
)


def parse(text: str | None) -> Subscribe | Unsubscribe | SubscribeList:
    """The message in a text frame. Raises BadMessage."""
    if text is None:
        raise BadMessage("Only text frames with JSON are understood.")
    try:
        return _messages.validate_json(text)
    except ValidationError as problem:
        first = problem.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadMessage(f"This message is not understood: {where + ': ' if where else ''}{first['msg']}") from None
