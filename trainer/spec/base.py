"""What every part of a run definition shares: strict models, field metadata and names of things outside the spec.

A field carries all that the form, the REST schema, the YAML files, the command line and the docs say about it: title, help,
unit, bounds and whether it is for experts. `option` is how a field is declared.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of a run definition. Unknown keys are errors; values are immutable once validated."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


def option(
    default: Any = ...,
    *,
    title: str,
    help: str,
    unit: str = "",
    expert: bool = False,
    paper: str = "",
    factory: Any = None,
    **bounds: Any,
) -> Any:
    """Declare a field of a section: `bounds` are pydantic's (ge, gt, le, lt, min_length, ...)."""
    extra = {"unit": unit, "expert": expert, "paper": paper}
    if factory is not None:
        return Field(default_factory=factory, title=title, description=help, json_schema_extra=extra, **bounds)
    return Field(default, title=title, description=help, json_schema_extra=extra, **bounds)


SCHEMES = ("builtin", "dataset", "model", "hub", "file", "secret")


def check_uri(value: str, *allowed: str) -> str:
    """Return `value` if it is a URI with one of the allowed schemes; raise ValueError with the remedy otherwise."""
    scheme, _, rest = value.partition(":")
    if scheme not in allowed or not rest:
        wanted = ", ".join(f"{scheme}:…" for scheme in allowed)
        raise ValueError(f"'{value}' does not say where to find it; write one of {wanted}")
    if "\0" in rest:
        raise ValueError("a location cannot contain a NUL character")
    return value


DataURI = Annotated[str, AfterValidator(lambda value: check_uri(value, "dataset", "file", "hub"))]
ModelURI = Annotated[str, AfterValidator(lambda value: check_uri(value, "builtin", "model", "file", "hub"))]
