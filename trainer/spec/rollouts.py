"""The pipeline stages of a rollout: generate → filter → control → replay."""

from __future__ import annotations

from trainer.spec.base import Section, option
from trainer.spec.controllers import AnyController
from trainer.spec.controllers.fixed import FixedControl
from trainer.spec.filters import AnyFilter
from trainer.spec.filters.verifier import VerifierFilter
from trainer.spec.generators import AnyGenerator
from trainer.spec.generators.plain import PlainGenerate
from trainer.spec.replays import AnyReplay
from trainer.spec.replays.none import NoReplay


class Rollouts(Section):
    """The pipeline stages of a rollout."""

    generate: AnyGenerator = option(
        title="Generate", help="How answers are generated.", factory=PlainGenerate
    )
    filter: AnyFilter = option(
        title="Filter",
        help="How answers are judged.",
        factory=VerifierFilter,
        expert=True,
        when={"source": ("student_rollouts",)},
    )
    control: AnyController = option(
        title="Control",
        help="How many answers each problem gets.",
        factory=FixedControl,
        expert=True,
    )
    replay: AnyReplay = option(
        title="Replay",
        help="Which rollouts are kept for later rounds.",
        factory=NoReplay,
        expert=True,
    )

    @property
    def decides(self) -> bool:
        """Whether a plug-in decides about answers or stores them, so that decisions are shown."""
        return (
            not isinstance(self.generate, PlainGenerate)
            or not isinstance(self.control, FixedControl)
            or not isinstance(self.replay, NoReplay)
        )
