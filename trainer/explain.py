"""Describe a run definition in sentences, with an upper bound of the tokens it writes."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.estimate import ProblemCounts, max_written_tokens, planned_answers
from trainer.spec import (
    EndpointTeacher,
    ModelTeacher,
    PrivilegedContext,
    Rollouts,
    RunSpec,
    ScoresTeacher,
    SelectedTokens,
    SelfTeacher,
    ServedTeacher,
    Stage,
    Teacher,
    TextTeacher,
)
from trainer.text.problems import RunProblems


def explain(spec: RunSpec, problems: RunProblems) -> str:
    """Return what the run does, one line for each part, in the order of execution."""
    return "\n".join(_lines(spec, problems)) + "\n"


def _lines(spec: RunSpec, problems: RunProblems) -> Iterator[str]:
    count = len(problems.train)
    yield f"{spec.name} (recipe {spec.recipe}, seed {spec.seed}, {spec.total_steps:,} steps)"
    teacher = teacher_text(spec.networks.teacher)
    yield f"Networks: {spec.networks.student.model} learns from {teacher}."
    retained = f", {len(problems.retained):,} of a retained skill" if problems.retained else ""
    held_out = (
        "the same, without their references, are its evaluation: a test-time cohort"
        if spec.data.is_cohort
        else f"{len(problems.evaluation):,} held out"
    )
    yield (
        f"Problems: {count:,} to train on, {held_out}{retained}; "
        f"judged by the verifier {spec.data.verifier.kind} ({spec.data.verifier.describe()})."
    )
    yield _pool(spec, count)
    for number, stage in enumerate(spec.stages, 1):
        yield f"Stage {number}, {stage.name}: {_stage(stage, count)}"
    evaluation = spec.evaluation
    during = f", {evaluation.samples} every {evaluation.every:,} steps" if evaluation.every else ""
    written = "1 answer" if evaluation.final_samples == 1 else f"{evaluation.final_samples} answers"
    answers = f"{written} to each of {len(problems.evaluation):,}"
    evaluated = "problems of the cohort" if spec.data.is_cohort else "held-out problems"
    yield f"Evaluation: {answers} {evaluated} before and after{during}."
    # A bound and not an estimate: how long the answers will be is not known before the run.
    counts = ProblemCounts(count, len(problems.evaluation), len(problems.retained or ()))
    yield (
        f"At most {max_written_tokens(spec, counts):,} tokens are written in all, if every answer "
        "has the allowed length."
    )


def teacher_text(teacher: Teacher) -> str:
    """Return the teacher's name and what it is shown."""
    match teacher:
        case ModelTeacher(model=model):
            name = model
        case SelfTeacher(weights=weights):
            name = {
                "initial": "itself as it was before the run",
                "ema": "its moving average",
                "adapter_off": "itself without the adapter",
            }.get(weights, "itself as it is")
        # Nothing is shown to a file: its answers were written before.
        case TextTeacher(path=path):
            return f"the answers in {path}"
        case ScoresTeacher(path=path):
            return f"the scores in {path}"
        case EndpointTeacher(url=url, model=model):
            name = f"{model} at {url}"
        case ServedTeacher(urls=urls, model=model):
            name = f"{model} at {' and '.join(urls)}"
    context = teacher.context
    return f"{name}, shown the {context.shows}" if isinstance(context, PrivilegedContext) else name


def _pool(spec: RunSpec, count: int) -> str:
    pool = spec.pool
    if pool.estimate == "never":
        return "No stage 0: all problems have the same weight."
    refreshed = {
        "never": "",
        "each_stage": " Pass rates are estimated again before each later stage.",
        "every": f" Pass rates are estimated again every {pool.refresh_every:,} steps.",
    }[pool.refresh]
    answers = f"{pool.rollouts_per_problem} answers of the student to each of {count:,} problems"
    return f"Stage 0, pass rates: {answers}; {pool.weighting.describe()}.{refreshed}"


def _stage(stage: Stage, count: int) -> str:
    generate, tokens = stage.rollouts.generate, stage.tokens
    answers = {
        "teacher_written": f"{_teacher_answers(generate.per_problem)} to each, at most "
        f"{min(count * generate.per_problem, planned_answers(stage)):,} written before the stage",
        "solutions": "the worked solution of each",
        "pairs": f"pairs of {_chosen(stage)} and {_rejected(stage)}",
        "student_rollouts": f"{generate.describe()} of the student to each, of at most "
        f"{generate.sampling.max_new_tokens:,} tokens",
    }[stage.source]
    steps = f"{stage.until.steps:,} steps of {stage.problems_per_step:,} problems, {answers}"
    if stage.updates_per_step > 1:
        steps += f"; {stage.updates_per_step:,} updates a step"
    plain, rollouts = Rollouts(), stage.rollouts
    for chosen, default in (
        (rollouts.filter, plain.filter),
        (rollouts.control, plain.control),
        (rollouts.replay, plain.replay),
    ):
        if chosen.kind != default.kind:
            steps += f"; {chosen.describe()}"
    objective = stage.describe_objective()
    if isinstance(tokens, SelectedTokens):
        rule = {"top": "the highest", "sample": "drawn", "bottom": "the lowest"}[tokens.how]
        score = tokens.score.replace("_", " ")
        objective += f" on {tokens.share:.0%} of the tokens, {rule} by {score}"
    return f"{steps}; {objective}; AdamW with learning rate {stage.optimiser.learning_rate:g}."


def _teacher_answers(count: int) -> str:
    return "one answer of the teacher" if count == 1 else f"{count} answers of the teacher"


def _chosen(stage: Stage) -> str:
    if stage.pairs.chosen == "solutions":
        return "the worked solution"
    return _teacher_answers(stage.rollouts.generate.per_problem)


def _rejected(stage: Stage) -> str:
    count = stage.rollouts.generate.per_problem
    own = "one answer of the student" if count == 1 else f"{count} answers of the student"
    return {
        "student_before_run": f"{own}, written before the run",
        "student_before_stage": f"{own}, written before the stage",
        "column": "as many rejected ones of its file",
    }[stage.pairs.rejected]
