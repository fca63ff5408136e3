"""The rows of a round, from sampled answers of the student, teacher answers or given solutions."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from trainer.engine.distributed.world import World
from trainer.engine.loop import Runtime
from trainer.engine.outcome import RunRefused
from trainer.spec import Need, RunSpec, Stage
from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.answers import truncated_share
from trainer.text.rollouts.assembly import build_filter, build_pipeline
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.pipeline import PipelineState, RolloutPipeline
from trainer.text.rollouts.protocols import Engine
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import Group, Prompt, TrainRow
from trainer.text.rollouts.stored_rollouts import (
    decode,
    encode,
    fingerprint,
    is_empty,
    require_same,
)
from trainer.text.rollouts.telemetry import Telemetry
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_round
from trainer.text.training.log_messages import explain_all_cut


@dataclass(frozen=True)
class CollectedRows:
    """The rows of a round with their metrics.

    `weights` are those of the problems trained on, in the order of `TrainRow.owner`. `telemetry`
    has the token counts of sampled answers; it is None for given ones.
    """

    rows: list[TrainRow]
    weights: list[float]
    metrics: dict[str, float]
    telemetry: Telemetry | None = None


@dataclass
class RowCollector:
    """Makes the rows of each round; `engine` samples the student's answers.

    The rollout pipeline of a stage is made at its first round and kept until its last one, because
    its plug-ins may store what later rounds need.
    """

    spec: RunSpec
    components: RunComponents
    engine: Engine
    # Names of the stages that have been reported for a step without any row, or with cut answers
    # alone.
    warned: set[str] = field(default_factory=set)
    warned_of_cuts: set[str] = field(default_factory=set)
    _pipeline: RolloutPipeline | None = None
    _stage: str = ""
    # From a checkpoint, until the pipeline of the stage is made.
    _restored: PipelineState | None = None

    def rows_from_student(
        self, stage: Stage, prompts: Sequence[Prompt], rt: Runtime, last: bool
    ) -> CollectedRows:
        """Sample the student's answers through the rollout pipeline.

        `last` marks the last round of the stage, after which nothing stays stored.
        """
        round = self._pipeline_of(stage, rt).run_round(
            prompts, Noise(self.spec.seed, rt.step, "train"), rt.updates, last=last
        )
        if last:
            # The next stage has plug-ins of its own.
            self._pipeline = None
        count_round(rt, self.components.student, round.telemetry)
        if not round.rows and stage.name not in self.warned:
            self.warned.add(stage.name)
            reasons = ", ".join(f"{reason}: {n:,}" for reason, n in round.telemetry.dropped.items())
            rt.log.log(
                "warning",
                f"Step {rt.step + 1:,} trains on no answer (dropped tokens by reason: {reasons}). "
                f"Later such steps of stage {stage.name} are not reported.",
            )
        longest = stage.rollouts.generate.sampling.max_new_tokens
        warning = explain_all_cut(self.components.student, round.answers, longest)
        if warning and stage.name not in self.warned_of_cuts:
            self.warned_of_cuts.add(stage.name)
            rt.log.log("warning", f"Step {rt.step + 1:,}: {warning}")
        values = {
            "pass_rate/train": pass_rate(round.answers),
            **_lengths(round.answers),
            "staleness/mean": round.telemetry.staleness,
        }
        if stage.rollouts.decides:
            values |= round.telemetry.metrics()
        if Need.GROUP_VERDICTS in stage.requirements:
            zero_variance = [
                not row.advantages.any() for row in round.rows if row.advantages is not None
            ]
            values["advantages/zero_variance_share"] = sum(zero_variance) / max(
                1, len(zero_variance)
            )
        weights = [group.prompt.weight for group in round.trained]
        return CollectedRows(round.rows, weights, values, round.telemetry)

    def begin(self, stage: Stage, prompts: Sequence[Prompt], step: int, rt: Runtime) -> None:
        """Start sampling the answers of a later step, where sampling overlaps training."""
        self._pipeline_of(stage, rt).begin(prompts, Noise(self.spec.seed, step, "train"))

    def rows_from_answers(
        self, stage: Stage, prompts: Sequence[Prompt], answers: Sequence[Sequence[Answer]]
    ) -> CollectedRows:
        """Return one row per answer that is given to a problem."""
        components = self.components
        answer_filter = build_filter(
            self.spec, stage, components.sampler, components.student, components.teachers
        )
        rows, _ = answer_filter.rows(
            [Group(prompt, tuple(group)) for prompt, group in zip(prompts, answers, strict=True)]
        )
        lengths = _lengths([answer for group in answers for answer in group])
        return CollectedRows(rows, [prompt.weight for prompt in prompts], lengths)

    # What a checkpoint must hold.

    def state(self, world: World) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
        """Return values and tensors of the pipeline; None while its plug-ins store nothing.

        Every rank has all answers, so that each has the whole state. Raises CodeError if they have
        come to differ.
        """
        # What is restored is the state until the next round.
        state = self._pipeline.state() if self._pipeline else self._restored
        values: dict[str, Any] | None = None
        tensors: dict[str, Tensor] = {}
        if state is not None and not is_empty(state):
            encoded, tensors = encode(state)
            values = {"stage": self._stage, "fingerprint": self._fingerprint, **encoded}
        if world.size > 1 and not world.all_equal(_checksum(values, tensors)):
            raise CodeError(
                "The processes of the run store different rollouts, so a plug-in of the rollout "
                "pipeline decides by something else than answers, settings and a Noise."
            )
        return values, tensors

    def load(self, values: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]) -> None:
        """Restore the pipeline from what `state` returned.

        Raises RunRefused if it stores rollouts that do not belong to this run.
        """
        self._pipeline, self._restored = None, None
        if values is None:
            return
        require_same(values["fingerprint"], self._fingerprint)
        train = {question.problem.id: question for question in self.components.train}
        self._stage, self._restored = values["stage"], decode(values, tensors, train)

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        components, spec = self.components, self.spec
        problems = components.sets["train"].fingerprint
        return fingerprint(components.student, spec.networks.student, spec.seed, problems)

    def _pipeline_of(self, stage: Stage, rt: Runtime) -> RolloutPipeline:
        """The pipeline of the stage, with what a checkpoint has stored.

        Raises RunRefused if that is of another stage.
        """
        if self._pipeline is None:
            pipeline = self._new_pipeline(stage, rt)
            if self._restored is not None:
                if stage.name != self._stage:
                    raise RunRefused(
                        f"The checkpoint stores rollouts of stage {self._stage}, but the run "
                        f"resumes in stage {stage.name}.",
                        "Resume with the definition that the run was started with.",
                    )
                pipeline.load(self._restored)
            self._pipeline, self._stage, self._restored = pipeline, stage.name, None
        return self._pipeline

    def _new_pipeline(self, stage: Stage, rt: Runtime) -> RolloutPipeline:
        components = self.components
        questions = [*components.evaluation, *components.retained]
        # A cohort is trained on what it is measured on, without references.
        if self.spec.data.is_cohort:
            questions = components.retained
        held_out = [question.problem.id for question in questions]
        return build_pipeline(
            self.spec,
            stage,
            self.engine,
            components.sampler,
            components.student,
            components.teachers,
            held_out,
        )


def _checksum(values: Any, tensors: Mapping[str, Tensor]) -> int:
    checksum = zlib.crc32(json.dumps(values).encode())
    for tensor in tensors.values():
        checksum = zlib.crc32(tensor.numpy().tobytes(), checksum)
    return checksum


def pass_rate(answers: Sequence[Answer]) -> float:
    """Return the share of correct answers among those with a verdict; NaN without any verdict."""
    verdicts = [answer.verdict for answer in answers if answer.verdict is not None]
    return sum(verdicts) / len(verdicts) if verdicts else float("nan")


def _lengths(answers: Sequence[Answer]) -> dict[str, float]:
    mean = sum(len(answer.ids) for answer in answers) / max(1, len(answers))
    return {"length/mean": mean, "truncated/share": truncated_share(answers)}
