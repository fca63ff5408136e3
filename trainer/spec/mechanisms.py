"""Mechanisms of a method: alternatives of a run definition that are each declared in one file.

The declaration is a section with a `kind`. It says what forms, explanations and rules need to know;
its code is in the trainer and found by a dotted name. A new file in the package of its family is a
new alternative everywhere.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, Union, get_args

from pydantic import Field

from trainer.spec.base import Section


class DeclarationError(TypeError):
    """A declaration is not complete; the message names file, class and what is missing."""


class Mechanism(Section):
    """An alternative of a run definition. Its docstring is its help text.

    `function` names its code as `package.module:name`; the family's base class says what that is
    called with. It is imported only where it is used, because it may need torch. `REQUIRED` are the
    class variables that each mechanism of a family declares.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = ("function",)
    function: ClassVar[str]

    if TYPE_CHECKING:
        # Declared by each mechanism, as a Literal of its own.
        kind: str

    def describe(self) -> str:
        """Return what it does with these settings, as part of a sentence."""
        raise NotImplementedError


Family = TypeVar("Family", bound=Mechanism)


def choices(package: str, base: type[Mechanism]) -> Any:
    """Return the type of a field that holds one of the mechanisms declared in `package`.

    Raises DeclarationError if one is not complete or two have one `kind`.
    """
    members = members_in(package, base)
    union: Any = Union[tuple(members.values())]  # noqa: UP007 (the members are known at run time)
    return Annotated[union, Field(discriminator="kind")] if len(members) > 1 else union


def members_in(package: str, base: type[Family]) -> dict[str, type[Family]]:
    """Return the mechanisms declared in `package` by kind, in alphabetical order of their modules.

    Raises DeclarationError if one is not complete or two have one `kind`.
    """
    members: dict[str, type[Family]] = {}
    for module in declared_in(package):
        for member in vars(module).values():
            if not (isinstance(member, type) and issubclass(member, base)):
                continue
            kind = member.model_fields.get("kind")
            if kind is None or member.__module__ != module.__name__:
                continue
            if mistake := _mistake(member, kind.default, members):
                raise DeclarationError(f"{module.__file__}: {member.__name__} {mistake}")
            members[kind.default] = member
    return members


def _mistake(member: type[Mechanism], kind: Any, members: Mapping[str, type[Mechanism]]) -> str:
    """Return what is wrong with a declaration, "" if it is complete."""
    if kind in members:
        return f"has the kind {kind}, which {members[kind].__module__} declares too"
    if get_args(member.model_fields["kind"].annotation) != (kind,):
        return f"has the kind {kind} as default, but another as its Literal"
    if not member.__doc__:
        return "has no docstring, which is its help text"
    if member.describe is Mechanism.describe:
        return "has no describe(), the words of explanations and summaries"
    if missing := [name for name in member.REQUIRED if not hasattr(member, name)]:
        return f"does not declare {' and '.join(missing)}"
    if "function" in member.REQUIRED and not re.fullmatch(r"[\w.]+:\w+", member.function):
        return f"has the function {member.function!r}; write package.module:name"
    return ""


def declared_in(package: str) -> list[Any]:
    """Return the modules of a package, in alphabetical order."""
    path = import_module(package).__path__
    return [
        import_module(f"{package}.{module.name}")
        for module in sorted(pkgutil.iter_modules(path), key=lambda module: module.name)
    ]
