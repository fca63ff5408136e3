"""Refused combinations of the settings of a stage; paths are relative to the stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.confidence import StatedConfidence
from trainer.spec.controllers.dynamic_sampling import DynamicSampling
from trainer.spec.data import FileProblems
from trainer.spec.filters.calibrated import CalibratedFilter
from trainer.spec.networks import EndpointTeacher, TextTeacher
from trainer.spec.objectives.objective import Need
from trainer.spec.operation import VllmSampler
from trainer.spec.replays.none import NoReplay
from trainer.spec.rules.networks import Refusal
from trainer.spec.rules.pairs import pair_refusals
from trainer.spec.rules.scores import scores_stage_refusals
from trainer.spec.rules.served import served_stage_refusals
from trainer.spec.rules.shapers import shaper_refusals
from trainer.spec.stages import Stage
from trainer.spec.token_scores import TOKEN_SCORES
from trainer.spec.tokens import SelectedTokens

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec


def stage_refusals(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    yield from _source(spec, stage)
    yield from _answers(spec, stage)
    yield from _objective(spec, stage)
    yield from _sampled_law(stage)
    yield from shaper_refusals(spec, stage)
    yield from _tokens(stage)
    yield from _calibrated(spec, stage)
    yield from _sampler(spec, stage)
    yield from _steered(spec, stage)
    yield from _unable(spec, stage)
    yield from _stored(spec, stage)
    yield from _updates(stage)
    yield from served_stage_refusals(spec, stage)
    yield from pair_refusals(spec, stage)
    yield from scores_stage_refusals(spec, stage)
    if stage.optimiser.warmup_steps > stage.updates:
        what = "steps" if stage.updates_per_step == 1 else "updates"
        yield (
            "optimiser.warmup_steps",
            f"is {stage.optimiser.warmup_steps} but the stage has {stage.updates} {what}: the "
            f"learning rate is never reached",
        )


def _updates(stage: Stage) -> Iterator[Refusal]:
    if stage.minibatches > stage.problems_per_step:
        yield (
            "minibatches",
            f"is {stage.minibatches}, but a step has {stage.problems_per_step} problems, which are "
            f"divided among them; lower it or raise problems_per_step",
        )
    objective = stage.objective
    # Without the ratio to the sampling weights the later updates would estimate another gradient.
    if (
        stage.updates_per_step > 1
        and objective.estimates_from_samples
        and Need.OLD_LOGPROB not in objective.needs
    ):
        yield (
            "inner_epochs" if stage.inner_epochs > 1 else "minibatches",
            f"makes {stage.updates_per_step} updates a step, but {objective.kind} is right only "
            f"for answers of the weights that it updates; set inner_epochs and minibatches to 1",
        )


def _source(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    train = spec.data.train
    if (
        stage.source == "solutions"
        and isinstance(train, FileProblems)
        and train.columns.solution is None
    ):
        yield (
            "source",
            "is solutions, but the training data names no solution column; set "
            "data.train.columns.solution",
        )


def _answers(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    generate = stage.rollouts.generate
    count = generate.per_problem
    if stage.source == "solutions" and count > 1:
        yield (
            "rollouts.generate.per_problem",
            f"is {count}, but the data has one worked solution of each problem; set it to 1, or "
            f"give several as the texts of a teacher",
        )
    elif isinstance(stage.rollouts.control, DynamicSampling) and count < 2:
        yield (
            "rollouts.generate.per_problem",
            f"is {count}, but dynamic_sampling leaves out problems whose answers all have one "
            "verdict, as a single answer has; raise it to 4 or more, or choose fixed",
        )
    # The texts of a file are not sampled.
    elif generate.sampling.temperature == 0 and count > 1 and not _reads_texts(spec, stage):
        yield (
            "rollouts.generate.sampling.temperature",
            f"is 0: {count} greedy answers to a problem are all the same; raise it or set "
            f"per_problem to 1",
        )


def _reads_texts(spec: RunSpec, stage: Stage) -> bool:
    is_written = stage.source == "teacher_written" and isinstance(
        spec.networks.teacher, TextTeacher
    )
    return is_written or stage.reads_pairs


def _objective(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    objective, teacher = stage.objective, spec.networks.teacher
    # Only a network that the trainer has loaded gives probabilities.
    if objective.compares_with_teacher and isinstance(teacher, TextTeacher | EndpointTeacher):
        yield (
            "objective.kind",
            f"is {objective.kind}, which needs the teacher's probabilities, but a teacher of kind "
            f"{teacher.kind} gives texts only; "
            "choose cross_entropy on teacher_written answers, or a teacher of kind model",
        )
    if objective.answers == "given" and stage.source == "student_rollouts":
        yield (
            "objective.kind",
            f"is {objective.kind}, which would teach the student its own answers; choose "
            "teacher_written or solutions as source",
        )
    if objective.answers == "own" and stage.source not in ("student_rollouts", "pairs"):
        yield (
            "objective.kind",
            f"is {objective.kind}, which learns from the student's own answers; choose "
            f"student_rollouts as source",
        )
    # The advantage of a single answer is its reward minus itself: 0.
    if Need.GROUP_VERDICTS in objective.needs and stage.rollouts.generate.per_problem < 2:
        yield (
            "rollouts.generate.per_problem",
            f"is 1, but {objective.kind} compares the answers to a problem with each other; raise "
            "it to 4 or more",
        )


def _sampled_law(stage: Stage) -> Iterator[Refusal]:
    """Refuse settings under which a mean over sampled tokens is no estimate of the loss."""
    objective, sampling = stage.objective, stage.rollouts.generate.sampling
    # Without student_rollouts nothing is sampled, which `_objective` refuses where it matters.
    if not objective.estimates_from_samples or stage.source != "student_rollouts":
        return
    path = "rollouts.generate.sampling."
    if sampling.top_p < 1 or sampling.top_k > 0:
        yield (
            path + ("top_p" if sampling.top_p < 1 else "top_k"),
            f"cuts the distribution, but {objective.kind} is computed with log-probs of the whole "
            "one; set top_p to 1 and top_k to 0",
        )
    # With several answers `_answers` refuses temperature 0 already.
    if sampling.temperature == 0 and stage.rollouts.generate.per_problem == 1:
        yield (
            path + "temperature",
            f"is 0, but {objective.kind} learns from answers that are drawn at random; raise it",
        )
    if {Need.OLD_LOGPROB, Need.TEACHER_LOGPROB} <= objective.needs and sampling.temperature != 1:
        yield (
            path + "temperature",
            f"is {sampling.temperature:g}, but the ratio of {objective.kind} contains the teacher, "
            "whose log-probs are those at temperature 1; set it to 1",
        )
    if objective.logit_temperature not in (1.0, sampling.temperature):
        yield (
            "objective.temperature",
            f"is {objective.logit_temperature:g}, but the answers are sampled at "
            f"{sampling.temperature:g}, which is the temperature of both models in "
            f"{objective.kind}; set it to 1",
        )


def _tokens(stage: Stage) -> Iterator[Refusal]:
    tokens = stage.tokens
    if not isinstance(tokens, SelectedTokens):
        return
    score = TOKEN_SCORES[tokens.score]
    if score.compares_with_teacher and not stage.compares_with_teacher:
        yield (
            "tokens.score",
            f"is {tokens.score}, which compares with the teacher, but {stage.objective.kind} does "
            f"not; choose entropy or random",
        )
    if not score.uses and tokens.how != "sample":
        yield (
            "tokens.how",
            f"is {tokens.how}, but {tokens.score} scores have no order; choose sample",
        )


def _calibrated(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    rollout_filter = stage.rollouts.filter
    if not isinstance(rollout_filter, CalibratedFilter):
        return
    if not isinstance(spec.data.confidence, StatedConfidence):
        yield (
            "rollouts.filter.kind",
            "is calibrated, but answers state no confidence; set data.confidence to stated",
        )
    objective = stage.objective
    if stage.source != "student_rollouts" or not (
        objective.compares_with_teacher and objective.edited_answers
    ):
        yield (
            "rollouts.filter.kind",
            "is calibrated, which needs fresh student_rollouts and a divergence as objective; "
            "choose those",
        )
    count = stage.rollouts.generate.per_problem
    if count < 2:
        yield (
            "rollouts.generate.per_problem",
            f"is {count}, but a confidence is learnt from the pass rate of a problem's answers; "
            f"raise it to 8, or to 2 at least",
        )
    if rollout_filter.target == "one_hot" and not rollout_filter.in_answer:
        yield (
            "rollouts.filter.target",
            "is one_hot, which learns the measured number in the answer; turn in_answer on or "
            "choose teacher",
        )
    if not (rollout_filter.in_answer or rollout_filter.in_privileged or rollout_filter.in_note):
        yield (
            "rollouts.filter.in_answer",
            "and the two other places are off, so no confidence is replaced; turn one on",
        )


def _sampler(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    sampling = stage.rollouts.generate.sampling
    # Both compare the sampler's log-probs with the trainer's, as importance ratios.
    engine = (
        "vLLM"
        if isinstance(spec.compute.sampler, VllmSampler)
        else "overlap"
        if spec.compute.overlap
        else ""
    )
    if stage.objective.estimates_from_samples:
        # Refused with any sampler, see `_sampled_law`.
        return
    if engine and (sampling.top_p < 1 or sampling.top_k > 0):
        yield (
            "rollouts.generate.sampling." + ("top_p" if sampling.top_p < 1 else "top_k"),
            f"cuts the distribution, so its log-probs cannot be compared with the trainer's; with "
            f"{engine} set top_p to 1 and top_k to 0",
        )


def _steered(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    control = stage.rollouts.control
    if not spec.compute.overlap or stage.source != "student_rollouts":
        return
    if control.steers or control.abilities:
        yield (
            "rollouts.control.kind",
            f"is {control.kind}, which decides about answers while they are written, but with "
            "compute.overlap they are written before the round begins; choose fixed or turn "
            "compute.overlap off",
        )


def _unable(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    control, sampler = stage.rollouts.control, spec.compute.sampler
    if not isinstance(sampler, VllmSampler) or stage.source != "student_rollouts":
        return
    if missing := sorted(control.abilities - sampler.abilities):
        yield (
            "rollouts.control.kind",
            f"is {control.kind}, which needs a sampler with {', '.join(missing)}, but "
            "compute.sampler.kind is vllm, whose server does not give it; choose fixed or the "
            "sampler in_process",
        )


def _stored(spec: RunSpec, stage: Stage) -> Iterator[Refusal]:
    # Two rounds of one stage may then be sampled with the same weights, which tell answers apart.
    if spec.compute.overlap and not isinstance(stage.rollouts.replay, NoReplay):
        yield (
            "rollouts.replay.kind",
            f"is {stage.rollouts.replay.kind}, which keeps rollouts for later rounds, but with "
            "compute.overlap the next round is sampled before they are known; choose none or turn "
            "compute.overlap off",
        )
