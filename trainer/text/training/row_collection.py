"""The rows of a round, from sampled answers of the student, teacher answers or given solutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trainer.engine.loop import Runtime
from trainer.spec import Need, RunSpec, Stage
from trainer.text.rollouts.answers import truncated_share
from trainer.text.rollouts.assembly import build_filter, build_pipeline
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.pipeline import RolloutPipeline
from trainer.text.rollouts.protocols import Engine
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import Group, Prompt, TrainRow
from trainer.text.rollouts.telemetry import Telemetry
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_answers, count_sampled
from trainer.text.training.log_messages import explain_all_cut


@dataclass(frozen=True)
class RowCollector:
    """Makes the rows of each round; `engine` samples the student's answers."""

    spec: RunSpec
    components: RunComponents
    engine: Engine
    # Names of the stages that have been reported for a step without any row, or with cut answers
    # alone.
    warned: set[str] = field(default_factory=set)
    warned_of_cuts: set[str] = field(default_factory=set)

    def rows_from_student(
        self, stage: Stage, prompts: Sequence[Prompt], rt: Runtime
    ) -> tuple[list[TrainRow], dict[str, float], Telemetry]:
        """Sample the student's answers through the rollout pipeline.

        Returns the rows, their metrics and the token counts of the round.
        """
        round = self._pipeline(stage, rt).run_round(
            prompts, Noise(self.spec.seed, rt.step, "train"), rt.step
        )
        count_sampled(rt, self.components.student, round.answers)
        count_answers(rt, round.answers)
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
        if Need.GROUP_VERDICTS in stage.objective.needs:
            zero_variance = [
                not row.advantages.any() for row in round.rows if row.advantages is not None
            ]
            values["advantages/zero_variance_share"] = sum(zero_variance) / max(
                1, len(zero_variance)
            )
        return round.rows, values, round.telemetry

    def begin(self, stage: Stage, prompts: Sequence[Prompt], step: int, rt: Runtime) -> None:
        """Start sampling the answers of a later step, where sampling overlaps training."""
        self._pipeline(stage, rt).begin(prompts, Noise(self.spec.seed, step, "train"))

    def rows_from_answers(
        self, stage: Stage, prompts: Sequence[Prompt], answers: Sequence[Answer]
    ) -> tuple[list[TrainRow], dict[str, float]]:
        """Return one row per problem from the given answers, and their metrics."""
        components = self.components
        answer_filter = build_filter(
            self.spec, stage, components.sampler, components.student, components.teachers
        )
        rows, _ = answer_filter.rows(
            [Group(prompt, (answer,)) for prompt, answer in zip(prompts, answers, strict=True)]
        )
        return rows, _lengths(answers)

    def _pipeline(self, stage: Stage, rt: Runtime) -> RolloutPipeline:
        components = self.components
        held_out = [
            question.problem.id for question in (*components.evaluation, *components.retained)
        ]
        return build_pipeline(
            self.spec,
            stage,
            self.engine,
            components.sampler,
            components.student,
            components.teachers,
            rt.micro_batch_tokens,
            held_out,
        )


def pass_rate(answers: Sequence[Answer]) -> float:
    """Return the share of correct answers among those with a verdict; NaN without any verdict."""
    verdicts = [answer.verdict for answer in answers if answer.verdict is not None]
    return sum(verdicts) / len(verdicts) if verdicts else float("nan")


def _lengths(answers: Sequence[Answer]) -> dict[str, float]:
    mean = sum(len(answer.ids) for answer in answers) / max(1, len(answers))
    return {"length/mean": mean, "truncated/share": truncated_share(answers)}
