"""Mechanisms of a method: alternatives of a run definition that are each declared in one file.

The declaration is a section with a `kind`. It says what forms, explanations and rules need to know;
its code is in the trainer and found by a dotted name. A new file in the package of its family is a
new alternative everywhere.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union

from pydantic import Field

from trainer.spec.base import Section


class Mechanism(Section):
    """An alternative of a run definition. Its docstring is its help text.

    `function` names its code as `package.module:name`; the family's base class says what that is
    called with. It is imported only where it is used, because it may need torch.
    """

    function: ClassVar[str] = ""

    if TYPE_CHECKING:
        # Declared by each mechanism, as a Literal of its own.
        kind: str

    def describe(self) -> str:
        """Return what it does with these settings, as part of a sentence."""
        raise NotImplementedError


def choices(package: str, base: type[Mechanism]) -> Any:
    """Return the type of a field that holds one of the mechanisms declared in `package`.

    They are found in alphabetical order of their modules. Raises TypeError if two have one `kind`.
    """
    members: dict[str, type[Mechanism]] = {}
    for module in declared_in(package):
        for member in vars(module).values():
            if not (isinstance(member, type) and issubclass(member, base)):
                continue
            kind = member.model_fields.get("kind")
            if kind is None or member.__module__ != module.__name__:
                continue
            if kind.default in members:
                raise TypeError(f"{package} declares the kind {kind.default} twice")
            members[kind.default] = member
    union: Any = Union[tuple(members.values())]  # noqa: UP007 (the members are known at run time)
    return Annotated[union, Field(discriminator="kind")] if len(members) > 1 else union


def declared_in(package: str) -> list[Any]:
    """Return the modules of a package, in alphabetical order."""
    path = import_module(package).__path__
    return [
        import_module(f"{package}.{module.name}")
        for module in sorted(pkgutil.iter_modules(path), key=lambda module: module.name)
    ]
