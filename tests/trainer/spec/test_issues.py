"""Every complaint about a run definition is a sentence beside the setting that it speaks of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.spec import Pool, issues_in, load
from trainer.spec.fields.section_tree import sections

WEIGHTINGS = ", ".join(sections(Pool.model_fields["weighting"].annotation))
STAGE: dict[str, Any] = {"name": "only"}
GRPO_WITH_KL = {"objective": {"kind": "grpo"}, "shapers": {"kl": {"to": "teacher"}}}
TWO_STAGES = [{"name": "one"}, {"name": "two"}]


def issues_by_path(**settings: Any) -> dict[str, str]:
    return {issue.path: issue.message for issue in issues_in({"stages": [STAGE], **settings})}


def test_a_valid_definition_has_no_issues() -> None:
    assert issues_by_path() == {}


def test_zero_rollouts_are_refused() -> None:
    assert issues_by_path(pool={"rollouts_per_problem": 0}) == {
        "pool.rollouts_per_problem": "must be at least 1, got “0”"
    }


@pytest.mark.parametrize("exponent", ["alpha", "beta"])
def test_negative_exponents_are_refused(exponent: str) -> None:
    issues = issues_by_path(pool={"weighting": {"kind": "paced", exponent: -0.5}})
    assert issues == {f"pool.weighting.{exponent}": "must not be negative, got “-0.5”"}


@pytest.mark.parametrize(
    ("tokens", "sentence"), [(0, "must be at least 1"), (10**9, "must be at most 131,072")]
)
def test_answer_lengths_are_bounded(tokens: int, sentence: str) -> None:
    stage = {
        "name": "only",
        "rollouts": {"generate": {"kind": "plain", "sampling": {"max_new_tokens": tokens}}},
    }
    issues = issues_in({"stages": [stage]})
    assert [issue.path for issue in issues] == [
        "stages.0.rollouts.generate.sampling.max_new_tokens"
    ]
    assert sentence in issues[0].message


@pytest.mark.parametrize(
    ("settings", "path", "hint"),
    [
        ({"sed": 1}, "sed", "did you mean seed?"),
        (
            {"pool": {"weighting": {"kind": "paced", "alfa": 1}}},
            "pool.weighting.alfa",
            "did you mean alpha?",
        ),
        (
            {"stages": [{"name": "only", "until": {"step": 3}}]},
            "stages.0.until.step",
            "did you mean steps?",
        ),
        (
            {"checkpoints": {"xyz": 3}},
            "checkpoints.xyz",
            "the settings here are every, keep_last, keep_best",
        ),
        (
            {"stages": [STAGE | {"shapers": {"kl": {"xyz": 1}}}]},
            "stages.0.shapers.kl.xyz",
            "the settings here are kind, to, coefficient",
        ),
    ],
)
def test_an_unknown_setting_suggests_the_nearest_known_one(
    settings: dict[str, Any], path: str, hint: str
) -> None:
    assert hint in issues_by_path(**settings)[path]


@pytest.mark.parametrize(
    ("settings", "path", "sentence"),
    [
        (
            {"pool": {"weighting": {"kind": "pased"}}},
            "pool.weighting",
            f"one of {WEIGHTINGS}; got “pased”",
        ),
        (
            {"pool": {"weighting": {"alpha": 1}}},
            "pool.weighting",
            f"needs a `kind`: one of {WEIGHTINGS}",
        ),
        (
            {"pool": {"weighting": "paced"}},
            "pool.weighting",
            "must be a group of settings, got “paced”",
        ),
        (
            {"compute": {"device": "tpu"}},
            "compute.device",
            "must be one of auto, cpu, cuda; got “tpu”",
        ),
        (
            {"stages": [STAGE | {"shapers": {"kl": {"to": "nobody"}}}]},
            "stages.0.shapers.kl.to",
            "must be one of reference, teacher; got “nobody”",
        ),
        (
            {"data": {"train": {"kind": "arithmetic", "families": ["mull"]}}},
            "data.train.families.0",
            "one of add, sub",
        ),
        (
            {"data": {"train": {"kind": "arithmetic", "families": []}}},
            "data.train.families",
            "needs more items: at least 1",
        ),
        ({"data": {"train": {"kind": "file"}}}, "data.train.path", "is missing"),
        (
            {"data": {"train": {"kind": "file", "path": "/data/x.csv"}}},
            "data.train.path",
            "must be a location",
        ),
        ({"data": {"prompt": "Solve this"}}, "data.prompt", "must contain {question}"),
        (
            {"data": {"verifier": {"kind": "choice", "choices": "AA"}}},
            "data.verifier.choices",
            "different letters",
        ),
        ({"name": ""}, "name", "must not be empty"),
        ({"name": "n" * 121}, "name", "must have at most 120 characters, got 121"),
        ({"name": "a\0b"}, "name", "must not contain a NUL character"),
        ({"name": True}, "name", "must be text, got “True”; put it in quotes"),
        ({"seed": "many"}, "seed", "must be a whole number, got “many”"),
        ({"seed": 1.5}, "seed", "must be a whole number, got “1.5”"),
        ({"stages": "forward"}, "stages", "must be a list, got “forward”"),
        ({"stages": []}, "stages", "needs more items: at least 1"),
        ({"stages": [{"name": "Stage 1"}]}, "stages.0.name", "lower-case letters"),
        (
            {"stages": [{"name": f"s{n}"} for n in range(17)]},
            "stages",
            "must have at most 16 items",
        ),
        (
            {"checkpoints": {"keep_best": "perhaps"}},
            "checkpoints.keep_best",
            "must be true or false, got “perhaps”",
        ),
        ({"evaluation": {"ema_decay": 1}}, "evaluation.ema_decay", "must be below 1, got “1”"),
        ({"data": {"verifier_seconds": float("nan")}}, "data.verifier_seconds", "must be"),
        (
            {"stages": [{"name": "a", "optimiser": {"clip_norm": float("inf")}}]},
            "stages.0.optimiser.clip_norm",
            "must be a number",
        ),
    ],
)
def test_a_wrong_value_is_explained_with_the_path_of_its_setting(
    settings: dict[str, Any], path: str, sentence: str
) -> None:
    assert sentence in issues_by_path(**settings)[path]


def stage(**generate: Any) -> dict[str, Any]:
    return {"name": "only", "rollouts": {"generate": {"kind": "plain", **generate}}}


@pytest.mark.parametrize(
    ("settings", "path", "reason"),
    [
        (
            {"networks": {"student": {"model": "builtin:teacher"}}},
            "networks.student.model",
            "nothing to learn",
        ),
        (
            {"pool": {"sampling": {"temperature": 0}}},
            "pool.sampling.temperature",
            "greedy answers are all the same",
        ),
        (
            {"pool": {"rollouts_per_problem": 1}},
            "pool.rollouts_per_problem",
            "all problems would be dropped",
        ),
        (
            {"pool": {"weighting": {"kind": "hard_filter", "low": 0.51, "high": 0.6}}},
            "pool.rollouts_per_problem",
            "dropped",
        ),
        (
            {"pool": {"weighting": {"kind": "hard_filter", "low": 0.9, "high": 0.1}}},
            "pool.weighting",
            "must not be above high",
        ),
        ({"pool": {"refresh": "each_stage"}}, "pool.refresh", "there is one stage"),
        (
            {"pool": {"refresh": "every", "refresh_every": 100}},
            "pool.refresh_every",
            "never refreshed",
        ),
        (
            {"evaluation": {"pass_at": [1, 8], "final_samples": 4}},
            "evaluation.pass_at",
            "asks for pass@8, which needs 8 samples",
        ),
        (
            {"evaluation": {"sampling": {"temperature": 0}}},
            "evaluation.sampling.temperature",
            "greedy answers are all the same",
        ),
        ({"stages": [STAGE, STAGE]}, "stages.1.name", "names two stages"),
        (
            {"stages": [stage(per_problem=2) | {"source": "solutions"}]},
            "stages.0.rollouts.generate.per_problem",
            "the data has one worked solution of each problem",
        ),
        (
            {"stages": [stage(per_problem=2, sampling={"temperature": 0})]},
            "stages.0.rollouts.generate.sampling.temperature",
            "2 greedy answers",
        ),
        (
            {"stages": [{"name": "a", "minibatches": 17}]},
            "stages.0.minibatches",
            "a step has 16 problems",
        ),
        (
            {"stages": [{"name": "a", "inner_epochs": 2, "optimiser": {"warmup_steps": 201}}]},
            "stages.0.optimiser.warmup_steps",
            "the stage has 200 updates",
        ),
        *(
            (
                {"stages": [{"name": "a", "objective": {"kind": "policy_gradient"}, name: 2}]},
                f"stages.0.{name}",
                "right only for answers of the weights that it updates",
            )
            for name in ("inner_epochs", "minibatches")
        ),
        (
            {"stages": [{"name": "a", "optimiser": {"warmup_steps": 101}}]},
            "stages.0.optimiser.warmup_steps",
            "never reached",
        ),
        *(
            (
                {"stages": [stage(per_problem=2, sampling=cut) | {"objective": {"kind": kind}}]},
                f"stages.0.rollouts.generate.sampling.{next(iter(cut))}",
                f"{kind} is computed with log-probs of the whole one",
            )
            for kind in ("grpo", "policy_gradient")
            for cut in ({"top_p": 0.9}, {"top_k": 5})
        ),
        (
            {
                "stages": [
                    stage(sampling={"temperature": 0}) | {"objective": {"kind": "policy_gradient"}}
                ]
            },
            "stages.0.rollouts.generate.sampling.temperature",
            "learns from answers that are drawn at random; raise it",
        ),
        (
            {
                "stages": [
                    stage(sampling={"temperature": 0.7})
                    | {"objective": {"kind": "policy_gradient", "temperature": 1.3}}
                ]
            },
            "stages.0.objective.temperature",
            "is 1.3, but the answers are sampled at 0.7",
        ),
        (
            {"stages": [STAGE | {"shapers": {"kl": {}}}]},
            "stages.0.shapers.kl",
            "is kl, which changes advantages, but reverse_kl does not learn by that; remove it",
        ),
        (
            {
                "stages": [stage(per_problem=2) | GRPO_WITH_KL],
                "networks": {"teacher": {"kind": "texts", "path": "file:answers.jsonl"}},
            },
            "stages.0.shapers.kl",
            "needs the teacher's probabilities, but a teacher of kind texts gives texts only",
        ),
        (
            {"stages": [stage(per_problem=1) | {"objective": {"kind": "grpo"}}]},
            "stages.0.rollouts.generate.per_problem",
            "is 1, but grpo compares the answers",
        ),
        (
            {
                "stages": [
                    stage(per_problem=2)
                    | GRPO_WITH_KL
                    | {"objective": {"kind": "grpo", "ratio": "sequence"}}
                ]
            },
            "stages.0.objective.ratio",
            "the shaper kl gives each token its own advantage; choose sequence_token",
        ),
        (
            {"stages": [STAGE | {"rollouts": {"control": {"kind": "dynamic_sampling"}}}]},
            "stages.0.rollouts.generate.per_problem",
            "as a single answer has; raise it to 4 or more, or choose fixed",
        ),
    ],
)
def test_incompatible_settings_are_refused_with_the_reason(
    settings: dict[str, Any], path: str, reason: str
) -> None:
    assert reason in issues_by_path(**settings)[path]


@pytest.mark.parametrize(
    "settings",
    [
        {"pool": {"rollouts_per_problem": 1, "weighting": {"kind": "uniform"}}},
        {"pool": {"rollouts_per_problem": 1, "weighting": {"kind": "paced", "floor": 0.1}}},
        {"pool": {"rollouts_per_problem": 1, "weighting": {"kind": "paced", "alpha": 0}}},
        {"pool": {"refresh": "each_stage"}, "stages": TWO_STAGES},
        {"pool": {"refresh": "every", "refresh_every": 100}, "stages": TWO_STAGES},
        {
            "evaluation": {
                "pass_at": [],
                "samples": 1,
                "final_samples": 1,
                "sampling": {"temperature": 0},
            }
        },
        {"networks": {"student": {"model": "builtin:teacher", "random_init": True}}},
        *(
            {
                "stages": [
                    stage(per_problem=2, sampling={"temperature": 0.7}) | {"objective": objective}
                ]
            }
            for objective in (
                {"kind": "grpo"},
                {"kind": "grpo", "kl": {"kind": "kl", "to": "teacher"}, "dual_clip": 3},
                {"kind": "policy_gradient"},
                {"kind": "policy_gradient", "temperature": 0.7},
            )
        ),
    ],
)
def test_unusual_settings_that_can_work_are_accepted(settings: dict[str, Any]) -> None:
    assert issues_by_path(**settings) == {}


def test_all_issues_are_returned_together() -> None:
    issues = issues_by_path(
        seed=-1,
        pool={"rollouts_per_problem": 0},
        stages=[{"name": "a", "until": {"steps": 0}}, {"name": "B"}],
    )
    assert set(issues) == {
        "seed",
        "pool.rollouts_per_problem",
        "stages.0.until.steps",
        "stages.1.name",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
SECTIONS = (
    "version",
    "networks",
    "data",
    "pool",
    "stages",
    "compute",
    "evaluation",
    "checkpoints",
    "record",
    "name",
    "recipe",
)


@given(st.dictionaries(st.sampled_from(SECTIONS), JSON, max_size=4))
def test_any_input_gives_sentences_and_never_an_exception(data: dict[str, Any]) -> None:
    issues = issues_in(data)
    assert all(issue.message and len(str(issue)) < 600 for issue in issues)
    if not issues:
        assert load(data).total_steps > 0


UNSTORABLE = ["\0", "\ud800", "a\udfff"]


@pytest.mark.parametrize("text", UNSTORABLE)
@pytest.mark.parametrize("section", ["name", "domains", "prompt", "a key", "a kind"])
def test_text_that_a_database_cannot_store_is_refused_in_every_section(
    section: str, text: str
) -> None:
    settings: dict[str, dict[str, Any]] = {
        "name": {"name": text},
        "domains": {
            "networks": {
                "specialists": [
                    {"domains": ["algebra", text], "teacher": {"model": "builtin:teacher"}}
                ]
            }
        },
        "prompt": {"data": {"prompt": "{question}" + text}},
        "a key": {text: 1},
        "a kind": {"data": {"train": {"kind": text}}},
    }
    text_of_issues = "\n".join(
        map(str, issues_in({"stages": [{"name": "only"}], **settings[section]}))
    )
    assert text_of_issues and "\0" not in text_of_issues and text_of_issues.encode()


@pytest.mark.parametrize("objective", ["grpo", "policy_gradient"])
def test_confidences_are_replaced_only_where_answers_may_be_changed(objective: str) -> None:
    rollouts = {"generate": {"per_problem": 4}, "filter": {"kind": "calibrated"}}
    stage = {"name": "only", "objective": {"kind": objective}, "rollouts": rollouts}
    issues = issues_by_path(stages=[stage], data={"confidence": {"kind": "stated"}})
    assert list(issues) == ["stages.0.rollouts.filter.kind"]
    assert "a divergence as objective" in issues["stages.0.rollouts.filter.kind"]
