"""Settings are refused where a mechanism needs what others cannot give."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest

from trainer.estimate import planned_answers
from trainer.spec import GRPO, Need, Sampling, load
from trainer.spec.controllers.controller import Ability, ControllerSettings
from trainer.spec.replays.replay import ReplaySettings
from trainer.spec.rules.stages import stage_refusals

STAGE: dict[str, Any] = {"name": "only"}


class TeacherAnchored(GRPO):
    """A ratio whose anchor is a mixture of the old policy and the teacher, as RLAD's is."""

    kind: Literal["teacher_anchored"] = "teacher_anchored"  # type: ignore[assignment]
    needs = frozenset({Need.OLD_LOGPROB, Need.TEACHER_LOGPROB, Need.GROUP_VERDICTS})


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.2])
def test_a_ratio_that_contains_the_teacher_requires_temperature_1(temperature: float) -> None:
    valid = load({"name": "x", "stages": [{**STAGE, "rollouts": {"generate": {"per_problem": 2}}}]})
    sampling = Sampling(temperature=temperature)
    generate = valid.stages[0].rollouts.generate.model_copy(update={"sampling": sampling})
    rollouts = valid.stages[0].rollouts.model_copy(update={"generate": generate})
    only = valid.stages[0].model_copy(update={"objective": TeacherAnchored(), "rollouts": rollouts})
    refusals = dict(stage_refusals(valid, only))
    if temperature == 1:
        assert refusals == {}
    else:
        sentence = refusals["rollouts.generate.sampling.temperature"]
        assert "contains the teacher" in sentence and "set it to 1" in sentence


class Shelf(ReplaySettings):
    """Groups are kept."""

    kind: Literal["shelf"] = "shelf"
    function: ClassVar[str] = "shelf:Shelf"


def test_a_replay_that_keeps_rollouts_is_refused_with_overlap() -> None:
    overlapping = load({"stages": [STAGE], "compute": {"overlap": True}})
    stage = overlapping.stages[0]
    rollouts = stage.rollouts.model_copy(update={"replay": Shelf()})
    keeping = stage.model_copy(update={"rollouts": rollouts})
    refusals = dict(stage_refusals(overlapping, keeping))
    assert "is shelf, which keeps rollouts for later rounds" in refusals["rollouts.replay.kind"]
    assert dict(stage_refusals(load({"stages": [STAGE]}), keeping)) == {}


class Watching(ControllerSettings):
    """Answers are watched, and a problem may get twice as many."""

    kind: Literal["watching"] = "watching"
    function: ClassVar[str] = "watching:Watching"
    abilities: ClassVar[frozenset[Ability]] = frozenset(("step", "abort"))

    def answers_at_most(self, per_problem: int) -> int:
        return 2 * per_problem


class Pausing(ControllerSettings):
    """Answers are paused at an allowance."""

    kind: Literal["pausing"] = "pausing"
    function: ClassVar[str] = "pausing:Pausing"
    steers: ClassVar[bool] = True


@pytest.mark.parametrize("control", [Watching(), Pausing()])
def test_a_controller_that_steers_answers_is_refused_with_overlap(
    control: ControllerSettings,
) -> None:
    overlapping = load({"stages": [STAGE], "compute": {"overlap": True}})
    stage = overlapping.stages[0]
    rollouts = stage.rollouts.model_copy(update={"control": control})
    steering = stage.model_copy(update={"rollouts": rollouts})
    refusals = dict(stage_refusals(overlapping, steering))
    assert "decides about answers while they are written" in refusals["rollouts.control.kind"]
    assert "rollouts.control.kind" not in dict(stage_refusals(overlapping, stage))
    assert dict(stage_refusals(load({"stages": [STAGE]}), steering)) == {}


class Gated(ControllerSettings):
    """Answers branch where the entropy is high."""

    kind: Literal["gated"] = "gated"
    function: ClassVar[str] = "gated:Gated"
    abilities: ClassVar[frozenset[Ability]] = frozenset(("step", "fork", "entropy"))


def test_a_controller_that_needs_what_vllm_does_not_give_is_refused_with_it() -> None:
    over_vllm = load({"stages": [STAGE], "compute": {"sampler": {"kind": "vllm"}}})
    in_process = load({"stages": [STAGE]})
    for control, refused in ((Watching(), False), (Gated(), True)):
        stage = over_vllm.stages[0]
        rollouts = stage.rollouts.model_copy(update={"control": control})
        watching = stage.model_copy(update={"rollouts": rollouts})
        refusals = dict(stage_refusals(over_vllm, watching))
        assert ("rollouts.control.kind" in refusals) == refused
        if refused:
            assert "needs a sampler with entropy" in refusals["rollouts.control.kind"]
        assert dict(stage_refusals(in_process, watching)) == {}


def test_the_estimate_knows_how_many_answers_a_controller_may_ask_for() -> None:
    stage = load({"stages": [STAGE]}).stages[0]
    rollouts = stage.rollouts.model_copy(update={"control": Watching()})
    larger = stage.model_copy(update={"rollouts": rollouts})
    assert planned_answers(larger) == 2 * planned_answers(stage) > 0
