"""Shipped experiments in the browser: offered, launched, their bases trained, and judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from django.utils.html import escape

from tests.webapp.pages.test_new_run import as_
from tests.webapp.recorded import Recorder
from trainer import experiments as published
from trainer.experiments import definition
from trainer.experiments.outcomes import Outcome
from trainer.experiments.run_log import outcome
from trainer.experiments.verdicts import findings
from webapp.access.models import Team, User
from webapp.experiments import bases, lifecycle, reproduction
from webapp.experiments import verdicts as verdicts_module
from webapp.experiments.models import BaseStudent, Experiment, ExperimentRun
from webapp.experiments.run_outcomes import outcome_of
from webapp.experiments.verdicts import TOO_FEW, verdicts_of
from webapp.library.models import StoredModel
from webapp.runs.models import Run, State

pytestmark = pytest.mark.django_db
RATE, RETAINED = "eval/pass_rate", "retained/pass_rate"
REACHABLE = f"{RATE}/tier=mastered or frontier"


def cells_of(experiment: Experiment) -> list[ExperimentRun]:
    return list(experiment.runs.select_related("run").order_by("pk"))


def page(client: Client, experiment: Experiment) -> str:
    return client.get(f"/experiments/{experiment.public_id}/").content.decode()


def stored_base(base: BaseStudent, hash: str = "h8") -> StoredModel:
    return StoredModel.objects.create(
        team=base.team, name=f"base-{base.name}-{base.seed}", hash=hash, manifest={}
    )


# What is offered


def test_the_page_says_what_is_run_how_it_is_judged_and_what_was_published(alice: User) -> None:
    text = as_(alice).get("/recipes/paced/reproduce/paced/").content.decode()
    assert "15: 3 arms × 5 seeds" in text and "8, 9, 10, 11, 12" in text
    assert "about 0.5 CPU-hours" in text and "5, one for each seed (“student”)" in text
    shipped, results = definition.load("paced"), published.results("paced")
    assert results is not None
    for claim, record in zip(shipped.claims, results["claims"], strict=True):
        assert escape(claim.says) in text and f">{record['words']}</span>" in text
    assert "p ≤ 0.05 after Holm&#x27;s adjustment for 5 claims" in text
    assert text.count(", no verdict</option>") == 2


@pytest.mark.parametrize("name", definition.names())
def test_every_shipped_experiment_can_be_reproduced_from_its_recipe(alice: User, name: str) -> None:
    address = f"/recipes/{definition.load(name).recipe}/reproduce/{name}/"
    client = as_(alice)
    assert address in client.get(f"/recipes/{definition.load(name).recipe}/").content.decode()
    assert client.get(address).status_code == 200


def test_a_viewer_has_no_button_and_cannot_start_one(alice: User, bob: User) -> None:
    text = as_(bob).get("/recipes/paced/").content.decode()
    assert "/reproduce/" not in text and "Members who may start runs can reproduce them." in text
    address = "/recipes/paced/reproduce/sample/"
    assert as_(bob).get(address).status_code == as_(bob).post(address).status_code == 403
    assert not Experiment.objects.exists()


def test_a_recipe_without_an_experiment_says_so(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definition, "names", lambda: ["tip"])
    text = as_(alice).get("/recipes/opsd/").content.decode()
    assert "No experiment ships with this recipe, so there is nothing to reproduce." in text


@pytest.mark.parametrize("address", ["tip/reproduce/paced", "paced/reproduce/none"])
def test_an_experiment_of_another_recipe_is_not_found(alice: User, address: str) -> None:
    assert as_(alice).get(f"/recipes/{address}/").status_code == 404


@pytest.mark.parametrize("seeds", ["", "0", "4", "-1", "9" * 30, "1\0"])
def test_only_the_planned_seeds_are_run(alice: User, seeds: str) -> None:
    answer = as_(alice).post("/recipes/paced/reproduce/sample/", {"seeds": seeds})
    assert answer.status_code == 422 and "Choose from 1 to 3 seeds." in answer.content.decode()
    assert not Experiment.objects.exists()


# Launching


def test_the_runs_are_those_of_the_command_line(alice: User, tmp_path: Path) -> None:
    client = as_(alice)
    answer = client.post("/recipes/paced/reproduce/sample/", {"seeds": "2"})
    experiment = Experiment.objects.get()
    assert answer["Location"] == f"/experiments/{experiment.public_id}/"
    shipped = definition.load("sample")
    assert [cell.run.spec for cell in cells_of(experiment) if cell.run] == [
        shipped.definition("sample", seed, tmp_path) for seed in (16, 17)
    ]
    text = page(client, experiment)
    assert "0 of 2 runs have ended: 2 queued." in text
    assert "The verdict is given when every run has ended." in text


@pytest.fixture
def waiting(still: Team, alice: User) -> Experiment:
    """PACED's experiment with two seeds, whose bases are not trained."""
    return reproduction.launch(still, alice, "paced", [8, 9])


def test_the_runs_of_a_seed_are_queued_when_its_base_is_trained(
    alice: User, waiting: Experiment
) -> None:
    text = page(as_(alice), waiting)
    assert "0 of 6 runs have ended: 6 waiting." in text and not Run.objects.exists()
    base = bases.claim_next()
    assert base is not None and (base.name, base.seed) == ("student", 8)
    assert bases.heartbeat(base, "step 100 of 700")
    text = page(as_(alice), waiting)
    assert "“student” for seed 8 is being trained: step 100 of 700." in text
    assert "“student” for seed 9 waits for a worker to train it." in text
    reproduction.finish_base(base, stored_base(base), {})
    queued = [cell for cell in cells_of(waiting) if cell.run]
    assert [(cell.seed, cell.arm) for cell in queued] == [(8, 0), (8, 1), (8, 2)]
    for cell in queued:
        assert cell.run is not None and cell.run.spec is not None and cell.run.owner == alice
        assert cell.run.spec["networks"]["student"]["model"] == "model:base-student-8@h8"
    assert "0 of 6 runs have ended: 3 queued, 3 waiting." in page(as_(alice), waiting)
    # The same once more changes nothing.
    reproduction.finish_base(base, stored_base(base, "again"), {})
    assert Run.objects.count() == 3


def test_a_base_is_trained_once_for_all_experiments_of_a_team(
    still: Team, alice: User, waiting: Experiment
) -> None:
    second = reproduction.launch(still, alice, "paced", [8])
    assert BaseStudent.objects.count() == 2
    base = bases.claim_next()
    assert base is not None
    model = stored_base(base)
    reproduction.finish_base(base, model, {})
    assert all(cell.run for cell in cells_of(second))
    third = reproduction.launch(still, alice, "paced", [8])
    assert all(cell.run and cell.state == State.QUEUED for cell in cells_of(third))
    # Somebody deletes the model: it is trained again for the next one.
    model.delete()
    fourth = reproduction.launch(still, alice, "paced", [8])
    assert {cell.state for cell in cells_of(fourth)} == {"waiting"}


def test_a_worker_whose_base_was_taken_by_another_stores_nothing(waiting: Experiment) -> None:
    slow = bases.claim_next()
    assert slow is not None and bases.claim_next() is not None and bases.claim_next() is None
    bases.release(slow)
    fast = bases.claim_next()
    assert fast is not None and fast.pk == slow.pk and not bases.heartbeat(slow, "")
    reproduction.finish_base(slow, stored_base(slow), {})
    reproduction.fail_base(slow, "It ended early.")
    assert {cell.state for cell in cells_of(waiting)} == {"waiting"}


def test_runs_whose_base_fails_have_failed_and_can_be_run_again(
    alice: User, waiting: Experiment
) -> None:
    base = bases.claim_next()
    assert base is not None
    reproduction.fail_base(base, "The training ended early: no space left.")
    text = page(as_(alice), waiting)
    assert "3 of 6 runs have ended: 3 failed, 3 waiting." in text
    assert "The training ended early: no space left." in text and text.count(">Run again<") == 3
    cell = cells_of(waiting)[0]
    address = f"/experiments/{waiting.public_id}/repeat/"
    answer = as_(alice).post(address, {"cell": cell.pk}, follow=True).content.decode()
    assert "The run is queued after its base student." in answer
    again = bases.claim_next()
    assert again is not None and again.pk == base.pk and not again.problem
    assert "already" in as_(alice).post(address, {"cell": cell.pk}, follow=True).content.decode()
    reproduction.finish_base(again, stored_base(again), {})
    assert [bool(each.run) for each in cells_of(waiting)] == [True] + 5 * [False]


def test_stopping_ends_what_waits_and_its_training(alice: User, waiting: Experiment) -> None:
    base = bases.claim_next()
    assert base is not None
    as_(alice).post(f"/experiments/{waiting.public_id}/stop/")
    assert {cell.state for cell in cells_of(waiting)} == {"stopped"}
    assert not bases.heartbeat(base, "") and bases.claim_next() is None
    text = page(as_(alice), waiting)
    assert "6 of 6 runs have ended: 6 stopped." in text and "No run has completed" in text
    assert "Base student" not in text
    assert lifecycle.repeat(cells_of(waiting)[3], alice) is None
    assert [each.seed for each in bases.waiting()] == [9]


def test_a_run_that_was_deleted_is_made_again_from_the_same_base(
    alice: User, waiting: Experiment
) -> None:
    base = bases.claim_next()
    assert base is not None
    reproduction.finish_base(base, stored_base(base), {})
    cell = cells_of(waiting)[1]
    assert cell.run is not None
    before = cell.run.spec
    cell.run.delete()
    again = lifecycle.repeat(ExperimentRun.objects.get(pk=cell.pk), alice)
    assert again is not None and again.spec == before


# Verdicts


def log_of(seed: int, gain: float, kept: float = 0.6) -> list[dict[str, Any]]:
    """The events of a run of the sample experiment that gains so much, as its trainer writes."""

    def evaluated(step: int, when: str, rate: float, change: float | None) -> list[dict[str, Any]]:
        difference = change and {"pass_rate": change, "interval": [change - 0.02, change + 0.02]}
        group = {
            "by": "tier",
            "name": "mastered or frontier",
            "n": 40,
            "pass_rate": rate,
            "difference": difference,
        }
        at = {"type": "evaluation", "step": step, "when": when}
        loss = {"pass_rate": kept - 0.6, "interval": [kept - 0.7, kept - 0.5]}
        return [
            {**at, "role": "evaluation", "problems": 60, "pass_rate": rate, "groups": [group]}
            | {"difference": difference},
            {**at, "role": "retained", "problems": 50, "pass_rate": kept}
            | {"difference": loss if step else None},
            {
                "type": "metrics",
                "stage": "reverse",
                "step": step,
                "tokens": 100 * step + seed,
                "compute": 1e6 * step,
                "values": {
                    RATE: rate,
                    REACHABLE: rate,
                    RETAINED: kept if step else 0.6,
                },
            },
        ]

    environment = {
        **{"type": "environment", "python": "3.11", "platform": "Linux", "device": "cpu"},
        **{"packages": {}, "commit": "c0ffee"},
    }
    training = {"type": "metrics", "stage": "reverse", "step": 5, "tokens": 1, "compute": 1.0}
    return [
        environment,
        *evaluated(0, "before", 0.3, None),
        {**training, "values": {"loss": 1.0, "grad_norm": 0.5}},
        *evaluated(10, "after", 0.3 + gain, gain),
    ]


Carry = Callable[[Experiment, dict[int, float]], list[Outcome]]


@pytest.fixture
def carry_out(tmp_path: Path) -> Carry:
    """Let the runs of these seeds complete with a gain; return their outcomes by the log itself."""

    def carry(experiment: Experiment, gains: dict[int, float]) -> list[Outcome]:
        shipped, outcomes = definition.load("sample"), []
        for cell in cells_of(experiment):
            if cell.seed not in gains:
                continue
            assert cell.run is not None
            recorder = Recorder(cell.run, tmp_path / str(cell.seed))
            log = log_of(cell.seed, gains[cell.seed])
            recorder.send(log)
            recorder.send([{"type": "end", "outcome": "completed", "reason": "", "remedy": ""}])
            Run.objects.filter(pk=cell.run.pk).update(state=State.COMPLETED)
            outcomes.append(outcome(shipped, "sample", cell.seed, log))
        return outcomes

    return carry


@pytest.fixture
def sample(still: Team, alice: User) -> Experiment:
    return reproduction.launch(still, alice, "sample", [16, 17, 18])


def test_the_verdict_is_that_of_the_command_line_beside_the_published_one(
    alice: User, sample: Experiment, carry_out: Carry
) -> None:
    expected = carry_out(sample, {16: 0.1, 17: 0.12, 18: 0.17})
    shipped = definition.load("sample")
    cells = cells_of(sample)
    read = [
        outcome_of(shipped, "sample", cell.seed, cell.run) for cell in cells if cell.run is not None
    ]
    for here, there in zip(read, expected, strict=True):
        assert (here.before, here.after, here.changes) == (
            there.before,
            there.after,
            there.changes,
        )
        assert (here.curves, here.commit, here.tokens) == (
            there.curves,
            there.commit,
            there.tokens,
        )
    judged, verdicts = findings(shipped, expected), verdicts_of(sample, cells)
    assert verdicts is not None and not verdicts.awaited and not verdicts.missing
    (_, claims), (_, explored) = verdicts.sections
    for row, finding in zip([*claims, *explored], [*judged.claims, *judged.explored], strict=True):
        assert row.here is not None and finding.estimate is not None
        assert (row.says, row.here.words) == (finding.contrast.says, finding.words)
        assert (row.here.mean, row.here.low) == (finding.estimate.mean, finding.estimate.low)
    results = published.results("sample")
    assert results is not None
    assert [row.published and row.published.words for row in claims] == [
        record["words"] for record in results["claims"]
    ]
    text = page(as_(alice), sample)
    assert ">in each seed, shown</span>" in text and "0.130 [0." in text


def test_the_logs_of_ended_runs_are_read_once_until_one_of_them_grows(
    alice: User, sample: Experiment, carry_out: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out(sample, {16: 0.1, 17: 0.12, 18: 0.17})
    seeds: list[int] = []

    def read(shipped: definition.Experiment, arm: str, seed: int, run: Run) -> Outcome:
        seeds.append(seed)
        return outcome_of(shipped, arm, seed, run)

    monkeypatch.setattr(verdicts_module, "outcome_of", read)
    first = verdicts_of(sample, cells_of(sample))
    assert verdicts_of(sample, cells_of(sample)) == first and seeds == [16, 17, 18]
    seed_16 = Run.objects.filter(experimentrun__experiment=sample, experimentrun__seed=16)
    seed_16.update(batch_count=F("batch_count") + 1)
    assert verdicts_of(sample, cells_of(sample)) == first and seeds == [16, 17, 18] * 2


def test_two_seeds_give_numbers_and_no_verdict(still: Team, alice: User, carry_out: Carry) -> None:
    short = reproduction.launch(still, alice, "sample", [16, 17])
    carry_out(short, {16: 0.1, 17: 0.12})
    verdicts = verdicts_of(short, cells_of(short))
    assert verdicts is not None and verdicts.seeds_left_out == 1
    rows = [row.here for _, section in verdicts.sections for row in section]
    assert all(row is not None and row.words == TOO_FEW and row.p is None for row in rows)
    assert rows[0] is not None and rows[0].mean == pytest.approx(0.11)
    assert "1 seed fewer than published (3)" in page(as_(alice), short)


def test_one_seed_gives_its_difference(still: Team, alice: User, carry_out: Carry) -> None:
    short = reproduction.launch(still, alice, "sample", [16])
    carry_out(short, {16: 0.1})
    verdicts = verdicts_of(short, cells_of(short))
    assert verdicts is not None
    first = verdicts.sections[0][1][0].here
    assert first is not None and first.mean == pytest.approx(0.1) and first.low is None
    assert TOO_FEW in page(as_(alice), short)


def test_what_is_missing_is_named(alice: User, sample: Experiment, carry_out: Carry) -> None:
    carry_out(sample, {16: 0.1, 17: 0.12})
    assert "The verdict is given when every run has ended." in page(as_(alice), sample)
    last = cells_of(sample)[2].run
    assert last is not None
    Run.objects.filter(pk=last.pk).update(state=State.FAILED)
    text = page(as_(alice), sample)
    assert "Missing: the sample run, seed 18 (failed)." in text and TOO_FEW in text
    first = cells_of(sample)[0].run
    assert first is not None
    Run.objects.filter(pk=first.pk).update(deleted_at=Now())
    text = page(as_(alice), sample)
    assert "the sample run, seed 16 (deleted); the sample run, seed 18 (failed)" in text


def test_runs_that_lack_a_measurement_are_said_to(
    alice: User, sample: Experiment, carry_out: Carry
) -> None:
    carry_out(sample, {16: 0.1, 17: 0.12, 18: 0.17})
    run = cells_of(sample)[0].run
    assert run is not None
    run.events.filter(type="evaluation").delete()
    text = page(as_(alice), sample)
    assert "There is no verdict: the run of sample with seed 16 states no change of" in text


def test_a_definition_of_another_version_is_said_to_be_one(alice: User, sample: Experiment) -> None:
    Experiment.objects.filter(pk=sample.pk).update(shipped={"name": "sample", "unknown": 1})
    assert "This version cannot read the definition" in page(as_(alice), sample)
    Run.objects.update(state=State.FAILED)
    answer = as_(alice).post(
        f"/experiments/{sample.public_id}/repeat/", {"cell": cells_of(sample)[0].pk}, follow=True
    )
    assert answer.status_code == 200 and Run.objects.count() == 3
