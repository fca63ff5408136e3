"""How answers of the student are sampled. One file declares one generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.spec.generators.generator import GeneratorSettings
from trainer.spec.mechanisms import choices

if TYPE_CHECKING:
    AnyGenerator = GeneratorSettings
else:
    AnyGenerator = choices(__name__, GeneratorSettings)
