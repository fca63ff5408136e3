"""How answers are judged and what becomes of them. One file declares one filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.spec.filters.filter import Filter
from trainer.spec.mechanisms import choices

if TYPE_CHECKING:
    AnyFilter = Filter
else:
    AnyFilter = choices(__name__, Filter)
