"""Stage 0 and its repetitions: measure the student's pass rate on every problem of the pool.

Source: PACED, arXiv 2603.11178.
"""

from __future__ import annotations

from trainer.engine.loop import Runtime
from trainer.spec import RunSpec, Stage
from trainer.text.evaluation import gradient_snr
from trainer.text.recording.rollout_files import evenly_spaced, record_answers
from trainer.text.rollouts.answers import tally, truncated_share
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_sampled
from trainer.text.training.log_messages import describe_pool, explain_all_cut
from trainer.text.training.problem_pool import ProblemPool


def current_pool(
    components: RunComponents, spec: RunSpec, rt: Runtime, begin: int, pool: ProblemPool | None
) -> ProblemPool:
    """Return the pool for the next step, measured first if that is due.

    `begin` is the step at which the stage begins.
    """
    settings = spec.pool
    if settings.estimate == "never":
        return pool or ProblemPool.unmeasured(len(components.train), settings.weighting)
    if pool is None:
        pool = measure(components, spec, rt, None)
        if settings.measure_snr:
            gradient_snr.measure(components, spec, pool, rt)
        # The measurement is expensive: a run that is interrupted soon after must not repeat it.
        rt.checkpoint_requested = True
    refresh_due = (
        rt.step == begin
        if settings.refresh == "each_stage"
        else settings.refresh == "every" and rt.step % settings.refresh_every == 0
    )
    # The first measurement may fall on a step at which a refresh is due; one is enough.
    return measure(components, spec, rt, pool) if refresh_due and pool.step != rt.step else pool


def measure(
    components: RunComponents, spec: RunSpec, rt: Runtime, earlier: ProblemPool | None
) -> ProblemPool:
    """Sample K answers to every problem; emit the pool's events and metrics."""
    settings = spec.pool
    k, problems = settings.rollouts_per_problem, [question.problem for question in components.train]
    answers = components.sampler.sample_answers(
        components.student,
        components.train,
        [tuple(range(k))] * len(problems),
        settings.sampling,
        Noise(spec.seed, rt.step, "pass_rates"),
        progress=lambda done, of: rt.progress("pass_rates", done, of),
    )
    count_sampled(rt, components.student, answers)
    pool = ProblemPool(*tally(problems, answers), k, rt.step, settings.weighting)
    rt.emit(
        "problems",
        role="train",
        reason="refresh" if earlier else "initial",
        k=k,
        ids=[problem.id for problem in problems],
        passed=pool.passed.tolist(),
        verdicts=pool.verdicts.tolist(),
        weights=pool.weights_or_none(),
    )
    drift = {"pool/drift": pool.drift(earlier)} if earlier else {}
    rt.metrics({**pool.metrics(), **drift, "pool/truncated": truncated_share(answers)})
    rt.log.log("info", describe_pool(pool, truncated_share(answers)))
    longest = settings.sampling.max_new_tokens
    if not earlier and (warning := explain_all_cut(components.student, answers, longest)):
        rt.log.log("warning", warning)
    record_answers(
        rt, components.student, "train", evenly_spaced(answers, spec.record.rollouts), len(answers)
    )
    return pool


def stage_at(spec: RunSpec, step: int) -> tuple[Stage, int]:
    """The stage that update `step` (from 0) belongs to, and the step at which it begins."""
    begin = 0
    for stage in spec.stages:
        if step < begin + stage.until.steps:
            return stage, begin
        begin += stage.until.steps
    raise ValueError(f"The run has {begin} steps; there is no step {step}.")
