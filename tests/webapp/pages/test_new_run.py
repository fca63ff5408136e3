"""The new-run page: GET fills in the form, the check lists issues, POST starts a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils.html import escape

from tests.webapp.conftest import SPEC
from trainer import recipes
from trainer.spec import PacedWeights, load, to_dict, to_yaml
from trainer.text.training.problem_weights import weigh
from webapp.access.models import Team, User
from webapp.definition import run_form as forms
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db


def posted(spec: Mapping[str, Any], **changes: str) -> dict[str, list[str] | str]:
    """Return a definition as the browser posts it, with some fields changed."""
    form = forms.form_from(spec)
    return {
        **{name: form.getlist(name) for name in form},
        **{name.replace("__", "."): value for name, value in changes.items()},
    }


def definition_of(run: Run) -> dict[str, Any]:
    assert run.spec is not None
    return dict(run.spec)


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_form_is_filled_in_with_the_sample_run(alice: User) -> None:
    page = as_(alice).get("/runs/new/").content.decode()
    assert 'name="pool.weighting.alpha"' in page
    assert "Ready to start" in page


PRESETS = [(name, preset) for name in recipes.names() for preset in recipes.load(name).presets]
CPU_PRESETS = ("sample", "small")


@pytest.mark.parametrize(("recipe", "preset"), PRESETS)
def test_every_preset_of_every_recipe_fills_in_the_form(
    alice: User, recipe: str, preset: str
) -> None:
    page = as_(alice).get("/runs/new/", {"recipe": recipe, "preset": preset})
    expected = to_dict(recipes.load(recipe).spec(preset))
    assert to_dict(load(page.context["yaml"])) == {
        **expected,
        "name": expected["name"].removeprefix("Sample: "),
    }
    if preset in CPU_PRESETS:
        assert "Ready to start" in page.content.decode()


@pytest.mark.parametrize("recipe", recipes.names())
def test_every_recipe_can_start_with_built_in_models(alice: User, recipe: str) -> None:
    assert "Ready to start" in as_(alice).get("/runs/new/", {"recipe": recipe}).content.decode()


def test_an_unknown_recipe_is_not_found(alice: User) -> None:
    client = as_(alice)
    assert client.get("/runs/new/?recipe=nothing").status_code == 404
    assert client.get("/runs/new/?preset=../../etc/passwd").status_code == 404


def test_an_editor_starts_a_run_and_sees_it(erin: User, still: Team) -> None:
    answer = as_(erin).post("/runs/new/", posted(SPEC, name="Erin's own"))
    run = Run.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == f"/runs/{run.public_id}/"
    assert (run.name, run.team, run.owner) == ("Erin's own", still, erin)
    assert run.spec == {**to_dict(load(SPEC)), "name": "Erin's own"}


def test_a_viewer_sees_the_form_but_cannot_start_a_run(bob: User) -> None:
    client = as_(bob)
    assert "but not start them" in client.get("/runs/new/").content.decode()
    assert client.post("/runs/new/", posted(SPEC)).status_code == 403
    assert not Run.objects.exists()


def test_an_invalid_value_starts_no_run_and_stays_in_the_form(alice: User) -> None:
    answer = as_(alice).post(
        "/runs/new/",
        posted(SPEC, pool__rollouts_per_problem="0", pool__weighting__alpha="-2", name="kept"),
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "2 problems found" in page
    assert 'value="-2"' in page and 'value="kept"' in page
    assert page.count('aria-invalid="true"') == 2
    assert not Run.objects.exists()


def test_the_check_shows_problems_schedule_estimate_and_yaml(alice: User) -> None:
    client = as_(alice)
    good = client.post("/runs/new/check/", posted(SPEC)).content.decode()
    assert "Ready to start" in good and "60 steps" in good and "at most" in good
    assert escape(to_yaml(load(SPEC))) in good
    bad = client.post("/runs/new/check/", posted(SPEC, pool__weighting__beta="-1")).content.decode()
    assert 'data-target="field-pool-weighting-beta-paced"' in bad
    assert "must not be negative" in bad


@pytest.mark.parametrize(
    ("alpha", "beta", "floor"),
    list(product(("0", "0.5", "3", "16"), ("0", "1", "2.5"), ("0", "0.1"))),
)
def test_the_drawn_weights_are_those_of_the_trainer(
    alice: User, alpha: str, beta: str, floor: str
) -> None:
    changes = {"alpha": alpha, "beta": beta, "floor": floor}
    fields = posted(SPEC, **{f"pool__weighting__{name}": text for name, text in changes.items()})
    page = as_(alice).post("/runs/new/check/", fields).content.decode()
    path = re.search(r'class="curve-line" d="M([^"]+)"', page)
    assert path
    x, y = np.array([point.split() for point in path[1].split("L")], dtype=float).T
    weighting = PacedWeights(alpha=float(alpha), beta=float(beta), floor=float(floor))
    weights = weigh(weighting, (x - x.min()) / np.ptp(x))
    # Zero is at the height of the axis, the highest weight at the upper margin.
    drawn = (112 - y) / (112 - 6)
    np.testing.assert_allclose(drawn, weights / weights.max(), atol=0.01)


def test_the_curve_needs_only_its_own_settings_to_be_valid(alice: User) -> None:
    client = as_(alice)
    page = client.post("/runs/new/check/", posted(SPEC, seed="x")).content.decode()
    assert "Highest weight at p = 0.50. Dropped: p = 0 and p = 1 of 8 rollouts." in page
    fields = posted(SPEC, pool__rollouts_per_problem="")
    page = client.post("/runs/new/check/", fields).content.decode()
    assert 'class="curve-line"' in page and "<circle" not in page
    assert "Highest weight at p = 0.50." in page and "Dropped" not in page
    for invalid in ("x", "-1", "", "1e999"):
        fields = posted(SPEC, pool__weighting__alpha=invalid)
        page = client.post("/runs/new/check/", fields).content.decode()
        assert "The curve is shown when its settings are valid numbers." in page
        assert 'class="curve-line"' not in page


def test_values_that_look_like_code_stay_text(alice: User) -> None:
    name = "<script>alert(1)</script> $(rm -rf /) `id` --flag"
    as_(alice).post("/runs/new/", posted(SPEC, name=name))
    assert definition_of(Run.objects.get())["name"] == name
    page = as_(alice).post("/runs/new/", posted(SPEC, name=name, seed="-1")).content.decode()
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../etc",
        "/srv/../etc",
        "file:///etc",
        "%2e%2e%2fetc",
        "a\0b",
        "/proc/self/environ",
        "~",
    ],
)
def test_a_path_outside_the_operators_folders_is_refused(alice: User, path: str) -> None:
    changes = {"networks__student__model": "file:", "networks__student__model__rest": path}
    page = as_(alice).post("/runs/new/check/", posted(SPEC, **changes)).content.decode()
    assert 'data-target="field-networks-student-model"' in page
    assert "Ready to start" not in page


def test_a_specialist_for_an_unknown_domain_is_reported_beside_it(alice: User) -> None:
    specialists = [{"domains": ["add", "algebra"], "teacher": {"model": "builtin:teacher"}}]
    networks: dict[str, Any] = to_dict(load(SPEC))["networks"]
    fields = posted({**SPEC, "networks": networks | {"specialists": specialists}})
    page = as_(alice).post("/runs/new/check/", fields).content.decode()
    assert 'data-target="field-networks-specialists-0-domains"' in page
    assert "Names algebra, which no training problem has; they have add" in page
    assert (
        "algebra"
        not in as_(alice)
        .post("/runs/new/check/", {**fields, "networks.specialists.0.domains": "add"})
        .content.decode()
    )


def test_a_clone_is_filled_in_from_its_parent_and_stores_it(alice: User, run: Run) -> None:
    client = as_(alice)
    Run.objects.update(tags=["ablation"], notes="about the parent")
    page = client.get(f"/runs/new/?clone={run.public_id}").content.decode()
    assert "first distillation (clone)" in page
    client.post("/runs/new/", {**posted(SPEC), "parent": run.public_id})
    clone = Run.objects.exclude(pk=run.pk).get()
    assert (clone.parent, clone.tags, clone.notes) == (run, ["ablation"], "")


def test_a_clone_shows_its_changes_since_the_parent(alice: User, run: Run) -> None:
    client = as_(alice)
    fields = {
        **posted(definition_of(run), pool__weighting__kind="uniform", stages__1__until__steps="77"),
        "parent": run.public_id,
    }
    answer = client.post("/runs/new/check/", fields)
    changes = {change.path: (change.before, change.after) for change in answer.context["changes"]}
    assert changes["pool.weighting.kind"] == ("paced", "uniform")
    assert changes["pool.weighting.alpha"] == ("1.0", "not set")
    assert changes["stages.1.until.steps"] == ("40", "77")
    assert set(changes) == {
        "pool.weighting.kind",
        "pool.weighting.alpha",
        "pool.weighting.beta",
        "pool.weighting.floor",
        "stages.1.until.steps",
    }


def test_a_strangers_run_cannot_be_cloned(charlie: User, run: Run) -> None:
    client = as_(charlie)
    assert client.get(f"/runs/new/?clone={run.public_id}").status_code == 404
    assert client.post("/runs/new/", {**posted(SPEC), "parent": run.public_id}).status_code == 404


@pytest.mark.parametrize("clone", ["\0", "nothing", "../x", "a" * 500])
def test_an_unknown_run_to_clone_is_not_found(alice: User, clone: str) -> None:
    assert as_(alice).get("/runs/new/", {"clone": clone}).status_code == 404


@pytest.mark.parametrize(
    "data", ["0", "999999999999999999", "9" * 5000, "-1", "x", "1 OR 1=1", "\0"]
)
def test_an_unknown_data_set_is_not_found(alice: User, data: str) -> None:
    client = as_(alice)
    assert client.get("/runs/new/", {"data": data}).status_code == 404
    assert client.get(f"/data/{'9' * 30}/").status_code == 404


def test_yaml_fills_in_the_form(alice: User) -> None:
    page = as_(alice).post("/runs/import/", {"yaml": to_yaml(load({**SPEC, "name": "from YAML"}))})
    assert page.status_code == 200
    assert 'value="from YAML"' in page.content.decode()


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("", "is empty"),
        ("- a list", "must be a mapping of settings"),
        ("name: [unclosed", "not valid YAML"),
        ("name: x\nstages: [{name: a}]\nseeed: 3", "did you mean seed"),
        (
            "name: x\nstages: [{name: a}]\npool: {weighting: {kind: paced, alfa: 1}}",
            "did you mean alpha",
        ),
        ("!!python/object/apply:os.system ['id']", "not valid YAML"),
        ("stages: [1, {name: {}}]\ndata: 7", "problems found"),
        ("name: " + "x" * 300_000, "at most 262,144 are read"),
    ],
)
def test_unusable_yaml_is_refused_with_a_reason(alice: User, yaml: str, message: str) -> None:
    answer = as_(alice).post("/runs/import/", {"yaml": yaml})
    assert answer.status_code == 422
    assert message in answer.content.decode()


def test_an_import_with_thousands_of_stages_is_refused(alice: User) -> None:
    answer = as_(alice).post("/runs/import/", {"yaml": "stages:\n" + "- {name: a}\n" * 2000})
    assert answer.status_code == 422
    assert "at most 16" in answer.content.decode()
