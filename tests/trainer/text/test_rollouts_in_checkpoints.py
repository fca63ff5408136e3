"""What the rollout pipeline stores for later rounds survives an interruption, bit for bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from tests.trainer.text.short_run import carried_out, column, short
from tests.trainer.text.tiny import character_tokenizer, language_model
from tests.trainer.text.tiny_run import end, events, final_hash, live, numbers, start
from trainer.engine.distributed.world import World
from trainer.engine.loop import Runtime
from trainer.engine.outcome import RunRefused
from trainer.spec.networks import Student
from trainer.text import run
from trainer.text.mechanisms import CodeError
from trainer.text.rollouts.controllers import fixed
from trainer.text.rollouts.controllers.fixed import FixedController
from trainer.text.rollouts.generators import plain
from trainer.text.rollouts.generators.plain import PlainGenerator
from trainer.text.rollouts.protocols import StoredState
from trainer.text.rollouts.records import (
    AnswerInProgress,
    Decision,
    Group,
    Prompt,
    SampleRequest,
    TrajectoryEvent,
)
from trainer.text.rollouts.replays import none
from trainer.text.rollouts.stored_rollouts import fingerprint, require_same
from trainer.text.rollouts.streaming import Measures, StepEvents
from trainer.text.training.distillation import Distillation
from trainer.text.training.row_collection import RowCollector


@dataclass
class Shelf:
    """Keeps groups for two rounds."""

    settings: Any = None
    groups: list[Group] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)

    def take(self) -> list[Group]:
        self.ages = [age + 1 for age in self.ages]
        ripe = sum(age > 1 for age in self.ages)
        taken, self.groups, self.ages = self.groups[:ripe], self.groups[ripe:], self.ages[ripe:]
        return taken

    def put(self, groups: Sequence[Group]) -> None:
        self.groups += groups
        self.ages += [0] * len(groups)

    def state(self) -> StoredState:
        return StoredState({"ages": self.ages}, self.groups)

    def load(self, state: StoredState) -> None:
        self.ages, self.groups = list(state.values.get("ages", [])), list(state.groups)


@dataclass(frozen=True)
class InPieces(PlainGenerator):
    """Answers stop after every ten tokens."""

    def propose(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
        return [replace(request, allowance=10) for request in super().propose(prompts, counts)]


@dataclass(frozen=True)
class Deferring(FixedController):
    """Pauses every third answer that is not finished, and stores every third group."""

    seen: dict[str, int] = field(default_factory=lambda: {"answers": 0, "groups": 0})

    def decide_trajectory(self, event: TrajectoryEvent) -> Decision:
        if event.finished:
            return Decision("continue")
        self.seen["answers"] += 1
        return Decision("continue" if self.seen["answers"] % 3 else "pause", "its turn")

    def decide(self, group: Group) -> Decision:
        self.seen["groups"] += 1
        return Decision("train") if self.seen["groups"] % 3 else Decision("store", "its turn")

    def state(self) -> StoredState:
        return StoredState(self.seen)

    def load(self, state: StoredState) -> None:
        self.seen.update({"answers": 0, "groups": 0}, **state.values)


@pytest.fixture
def storing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain plug-ins of a run store groups, pause answers and count what they have seen."""
    monkeypatch.setattr(none, "EmptyReplay", Shelf)
    monkeypatch.setattr(plain, "PlainGenerator", InPieces)
    monkeypatch.setattr(fixed, "FixedController", Deferring)


def definition(**changes: Any) -> Any:
    stage = {"problems_per_step": 6, "until": {"steps": 5}, "objective": {"kind": "reverse_kl"}}
    return short(stage, checkpoints={"every": 1, "keep_last": 9}, **changes)


def tokens_of_rounds(folder: Path) -> list[dict[str, Any]]:
    names = ("generated", "consumed", "buffered", "pruned", "dropped", "decisions")
    return [
        {name: event[name] for name in names}
        for event in live(folder)
        if event["type"] == "pipeline"
    ]


@pytest.mark.usefixtures("storing")
def test_a_run_that_is_resumed_with_stored_and_paused_rollouts_gives_the_same_numbers(
    tmp_path: Path,
) -> None:
    uninterrupted = carried_out(definition(), tmp_path / "whole")
    rounds = tokens_of_rounds(uninterrupted)
    assert rounds[1]["decisions"].keys() >= {"pause: its turn", "store: its turn"}
    assert rounds[1]["buffered"] != 0 and rounds[-1]["dropped"]["the stage ended"] > 0
    assert sum(round["generated"] for round in rounds) == sum(
        round["consumed"] + sum(round["dropped"].values()) for round in rounds
    )
    for step in (2, 4):
        resumed = tmp_path / f"resumed-{step}"
        shutil.copytree(uninterrupted, resumed)
        checkpoints = resumed / "attempts" / "1" / "checkpoints"
        stored = json.loads((checkpoints / f"step-{step:08d}" / "state.json").read_text())
        assert stored["method"]["rollouts"]["in_flight"]
        assert stored["method"]["rollouts"]["plug_ins"]["replay"]["groups"]
        assert run.resume(resumed, checkpoint=checkpoints / f"step-{step:08d}") == 0
        assert numbers(resumed) == numbers(uninterrupted)
        assert tokens_of_rounds(resumed) == rounds
        assert final_hash(resumed) == final_hash(uninterrupted)


@dataclass(frozen=True)
class Halving(Deferring):
    """Watches tokens and pauses every answer that has written eight of them in a round."""

    every: int = 4
    measures: Measures = field(default_factory=lambda: Measures(entropy=True, top=2))

    def watch(
        self, events: StepEvents, answers: Mapping[int, AnswerInProgress]
    ) -> Mapping[int, Decision]:
        return {
            handle: Decision("pause", "eight tokens")
            for handle, answer in answers.items()
            if answer.length - answer.start >= 8
        }


@pytest.mark.usefixtures("storing")
def test_a_run_killed_with_answers_that_were_paused_in_mid_token_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed, "FixedController", Halving)
    monkeypatch.setattr(plain, "PlainGenerator", PlainGenerator)
    uninterrupted = carried_out(definition(), tmp_path / "whole")
    rounds = tokens_of_rounds(uninterrupted)
    assert rounds[1]["decisions"]["pause: eight tokens"] > 0
    resumed = tmp_path / "resumed"
    shutil.copytree(uninterrupted, resumed)
    checkpoint = resumed / "attempts" / "1" / "checkpoints" / f"step-{3:08d}"
    stored = json.loads((checkpoint / "state.json").read_text())
    assert stored["method"]["rollouts"]["in_flight"]
    assert run.resume(resumed, checkpoint=checkpoint) == 0
    assert numbers(resumed) == numbers(uninterrupted)
    assert tokens_of_rounds(resumed) == rounds
    assert final_hash(resumed) == final_hash(uninterrupted)


class Killed(BaseException):
    """The process is gone: nothing is saved any more."""


@pytest.mark.usefixtures("storing")
def test_a_run_killed_between_the_updates_of_a_step_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grpo = {
        "problems_per_step": 6,
        "until": {"steps": 4},
        "objective": {"kind": "grpo"},
        "inner_epochs": 2,
        "minibatches": 2,
        "optimiser": {"learning_rate": 0.01, "warmup_steps": 8, "final_share": 1.0},
    }
    settings = short(grpo, checkpoints={"every": 1, "keep_last": 9}, evaluation={"ema_decay": 0.9})
    uninterrupted = carried_out(settings, tmp_path / "whole")
    means = [sum(range(4 * step + 1, 4 * step + 5)) / 4 / 8 for step in range(2)]
    assert column(uninterrupted, "learning_rate") == pytest.approx(
        [0.01 * share for share in (*means, 1, 1)]
    )
    assert column(uninterrupted, "updates") == [4, 8, 12, 16]
    # The first update has ratios of 1, the later ones keep the log-probs of the sampling weights.
    assert max(column(uninterrupted, "ratio/clipped_share")) > 0
    original = Distillation.after_update

    def dying(self: Distillation, rt: Runtime) -> None:
        original(self, rt)
        if rt.updates == 10:
            raise Killed

    monkeypatch.setattr(Distillation, "after_update", dying)
    with pytest.raises(Killed):
        start(settings, tmp_path / "killed")
    monkeypatch.setattr(Distillation, "after_update", original)
    assert run.resume(tmp_path / "killed") == 0
    assert events(tmp_path / "killed", "rewind", attempt=2)[0]["step"] == 2
    assert numbers(tmp_path / "killed") == numbers(uninterrupted)
    assert final_hash(tmp_path / "killed") == final_hash(uninterrupted)


@pytest.mark.usefixtures("storing")
def test_stored_rollouts_of_other_problems_are_refused(tmp_path: Path) -> None:
    folder = carried_out(definition(), tmp_path / "run")
    settings = json.loads((folder / "spec.json").read_text())
    settings["data"]["train"]["seed"] = 3
    (folder / "spec.json").write_text(json.dumps(settings))
    checkpoint = folder / "attempts" / "1" / "checkpoints" / "step-00000003"
    assert run.resume(folder, checkpoint=checkpoint) == 64
    assert "they answer other training problems" in end(folder, 2)["reason"]


def test_a_checkpoint_without_rollouts_resumes_with_an_empty_store(tmp_path: Path) -> None:
    folder = carried_out(definition(), tmp_path / "run")
    checkpoint = folder / "attempts" / "1" / "checkpoints" / "step-00000003"
    state = json.loads((checkpoint / "state.json").read_text())
    # As versions before this state wrote it.
    assert state["method"].pop("rollouts") is None
    assert state["loop"].pop("updates") == 3
    (checkpoint / "state.json").write_text(json.dumps(state))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"].pop("state.json")
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    assert run.resume(folder, checkpoint=checkpoint) == 0
    whole = [value for (step, key), value in numbers(folder).items() if key == "loss"]
    assert len(whole) == 5 and not [
        event for event in events(folder, "log", attempt=2) if event["level"] == "warning"
    ]


def test_another_student_problems_or_tokenizer_are_named() -> None:
    model = language_model()
    made = fingerprint(model, Student(model="builtin:student"), 0, "problems")
    require_same(made, made)
    other_model = replace(model, hash="another")
    other_tokenizer = replace(model, tokenizer=character_tokenizer("abc"))
    settings = Student(model="builtin:student")
    for other, words in (
        (fingerprint(other_model, settings, 0, "problems"), "a student of another origin"),
        (fingerprint(model, settings, 1, "problems"), "a student of another origin"),
        (fingerprint(model, settings, 0, "others"), "other training problems"),
        (fingerprint(other_tokenizer, settings, 0, "problems"), "another tokenizer"),
    ):
        with pytest.raises(RunRefused, match=words):
            require_same(made, other)


def test_processes_that_store_different_rollouts_end_the_run() -> None:
    class Disagreeing(World):
        def __init__(self, agree: bool) -> None:
            super().__init__()
            self.size, self.agree = 2, agree

        def all_equal(self, number: int) -> bool:
            return self.agree

    collector = RowCollector(short({}), Mock(), Mock())
    assert collector.state(Disagreeing(True)) == (None, {})
    with pytest.raises(CodeError, match="processes of the run store different rollouts"):
        collector.state(Disagreeing(False))
