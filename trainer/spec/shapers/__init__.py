"""What ratio objectives learn by is shaped after scoring. One file declares one shaper.

Each is a field of the section `Shapers`, None where it is not used. They need no order: of each
value, what is set comes first, then all that is added, then all factors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import create_model

from trainer.spec.base import Section, option
from trainer.spec.mechanisms import members_in
from trainer.spec.shapers.shaper import Shaper


class ShaperChoices(Section):
    """Shapers of what ratio objectives learn by."""

    @property
    def chosen(self) -> tuple[Shaper, ...]:
        return tuple(
            shaper
            for name in type(self).model_fields
            if (shaper := getattr(self, name)) is not None
        )


def _field(shaper: type[Shaper]) -> Any:
    help_text = " ".join((shaper.__doc__ or "").split())
    return shaper | None, option(None, title=shaper.title, help=help_text, expert=True)


if TYPE_CHECKING:
    Shapers = ShaperChoices
else:
    Shapers = create_model(
        "Shapers",
        __base__=ShaperChoices,
        __doc__=ShaperChoices.__doc__,
        **{kind: _field(shaper) for kind, shaper in members_in(__name__, Shaper).items()},
    )
