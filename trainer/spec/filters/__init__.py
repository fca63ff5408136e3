"""How answers are judged and what becomes of them. One file declares one filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.spec.filters.filter import FilterSettings
from trainer.spec.mechanisms import choices

if TYPE_CHECKING:
    AnyFilter = FilterSettings
else:
    AnyFilter = choices(__name__, FilterSettings)
