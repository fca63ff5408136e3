"""Base classes and types of a run definition: strict models, field metadata, URIs and names.

A field has all that the form, the REST schema, the YAML files, the command line and the docs say
about it: title, help, unit, bounds, whether it is for experts and how the form shows it. `option`
declares a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, field_validator

# Papers that settings in several modules come from.
OPSD = "OPSD, arXiv 2601.18734"
CAOPD = "CaOPD, arXiv 2604.16830"


class Section(BaseModel):
    """A section of a run definition. Unknown keys are errors; validated values are immutable."""

    # Defaults are validated too, so that a default outside its own bounds fails at once. NaN is
    # refused, because it would pass every bound and is no JSON.
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        # A text column of Postgres cannot hold the first, UTF-8 not the second.
        for text in _texts(value):
            if "\0" in text:
                raise ValueError("must not contain a NUL character")
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError("must not contain half of a character (a lone surrogate)")
        return value


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value, at any depth; nested sections check their own texts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, Iterable) and not isinstance(value, BaseModel):
        for item in value:
            yield from _texts(item)


def option(
    default: Any = ...,
    *,
    title: str,
    help: str,
    unit: str = "",
    expert: bool = False,
    paper: str = "",
    choice_help: Mapping[str, str] | None = None,
    factory: Any = None,
    when: Mapping[str, tuple[str, ...]] | None = None,
    multiline: bool = False,
    provenance: bool = False,
    heading: bool | tuple[str, str] = False,
    subheading: bool = False,
    **bounds: Any,
) -> Any:
    """Declare a field of a section. `bounds` are pydantic's: ge, gt, le, lt, min_length, …

    `choice_help` explains the values of a choice that has no sections. The form reads the others:
    `when` has the values of other fields under which this one is used; each is looked up in the
    nearest section around it that has a field of that name.
    `multiline`: a text of several lines.
    `provenance`: where a definition comes from, which is not a setting to tune.
    `heading`: a group of the page, under the title and help of the field (True) or under a title
    and help that several fields share. A field belongs to the nearest heading around it.
    `subheading`: the fields of this section are shown under its title.
    """
    extra: dict[str, JsonValue] = {"unit": unit, "expert": expert, "paper": paper}
    shown: dict[str, JsonValue] = {
        "choice_help": dict(choice_help or {}),
        "when": {name: [*values] for name, values in (when or {}).items()},
        "multiline": multiline,
        "provenance": provenance,
        "heading": heading if isinstance(heading, bool) else [*heading],
        "subheading": subheading,
    }
    # Most fields have none of these, and the JSON schema need not say so at each of them.
    extra |= {key: value for key, value in shown.items() if value}
    # pydantic's types allow one of the two only.
    origin = {"default": default} if factory is None else {"default_factory": factory}
    return Field(title=title, description=help, json_schema_extra=extra, **origin, **bounds)


def check_uri(value: str, *allowed: str) -> str:
    """Return `value` if it is a URI with one of the allowed schemes, else raise ValueError."""
    scheme, _, location = value.partition(":")
    if scheme not in allowed or not location:
        forms = ", ".join(f"{scheme}:…" for scheme in allowed)
        raise ValueError(f"must be a location, as one of {forms}; got {quoted(value)}")
    return value


def _check_secret(value: str) -> str:
    """Return `value` if it names a secret, else raise ValueError without it: it may be the key."""
    scheme, _, name = value.partition(":")
    if scheme != "secret" or not name:
        raise ValueError("must name a secret of the worker, as secret:<name>, never be the key")
    return value


def check_url(url: str) -> str:
    """Return the URL without a slash at its end if it is one of HTTP, else raise ValueError."""
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("must have no white space and no control characters")
    # urlsplit drops tabs and line breaks, so white space is refused before. It raises
    # ValueError for brackets that do not match, and `port` does for one above 65535.
    try:
        split_url = urlsplit(url)
        is_valid = (
            split_url.scheme in ("http", "https")
            and bool(split_url.hostname)
            and split_url.port != 0
        )
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError(
            "must start with http:// or https:// and have a host, and a port from 1 to 65535 if any"
        )
    # The URL is shown on pages and stored with the run, where a password must not be.
    if split_url.username or split_url.password or split_url.query or split_url.fragment:
        raise ValueError(
            "must have no user name, password, ? or #; put a key into `key`, as secret:<name>"
        )
    # Paths such as /chat/completions are appended to it.
    return url.rstrip("/")


def check_slug(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", value):
        raise ValueError(
            "must be 1 to 32 lower-case letters, digits, - or _, with a letter or digit first; "
            f"got {quoted(value)}"
        )
    return value


def quoted(value: Any) -> str:
    """Return `value` as error messages quote it: at most 60 characters, containers by type name."""
    text = type(value).__name__ if isinstance(value, dict | list | tuple) else str(value)
    # The refused value may be one that no page or database could hold.
    text = encodable(text)
    return f"“{text[:60]}…”" if len(text) > 60 else f"“{text}”"


def encodable(text: str) -> str:
    """Return the text with ? for each character that UTF-8 or a database cannot hold."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class Location:
    """Marks a type whose values say where something is; the form offers what a team has."""

    of: Literal["model", "data", "endpoint"]


DataURI = Annotated[
    str,
    AfterValidator(lambda value: check_uri(value, "dataset", "file", "hub")),
    Location("data"),
]
ModelURI = Annotated[
    str,
    AfterValidator(lambda value: check_uri(value, "builtin", "model", "file", "hub")),
    Location("model"),
]
EndpointURL = Annotated[str, AfterValidator(check_url), Location("endpoint")]
SecretURI = Annotated[str, AfterValidator(_check_secret)]


def _visible(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank; write at least one visible character")
    return text


Name = Annotated[str, AfterValidator(_visible)]
Slug = Annotated[str, AfterValidator(check_slug)]
