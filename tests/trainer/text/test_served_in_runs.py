"""A run learns from a served teacher what it learns from the same network here."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.text.short_run import carried_out, column, short
from tests.trainer.text.teachers.scoring_server import MODEL, ScoringServer, builtin, scoring
from tests.trainer.text.tiny_run import end, events, start
from trainer.engine.distributed import processes
from trainer.spec import to_yaml
from trainer.text import run

LOCAL = {"kind": "model", "model": "builtin:teacher"}
TOP = {"kind": "reverse_kl", "vocabulary": {"kind": "top", "k": 6}}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "sampled": {"kind": "policy_gradient"},
    "top_k": TOP,
    "hidden_states": {"kind": "reverse_kl"},
}
GIVES: dict[str, dict[str, Any]] = {
    "sampled": {"kind": "sampled"},
    "top_k": {"kind": "top_k", "k": 8},
    "hidden_states": {"kind": "hidden_states", "head": "builtin:teacher"},
}


# Texts that are scored by the first check of a server: a new one twice, the six fixed ones twice.
CHECKED = 14


def served(server: ScoringServer, gives: str, **settings: Any) -> dict[str, Any]:
    return {
        "kind": "served",
        "urls": [server.url],
        "model": MODEL,
        "tokenizer": "builtin:teacher",
        "gives": GIVES[gives],
        **settings,
    }


def losses(folder: Path) -> list[float]:
    return column(folder, "loss")


@pytest.mark.parametrize("gives", list(GIVES))
def test_the_loss_curve_is_that_of_the_same_network_here(gives: str, tmp_path: Path) -> None:
    stage = {"objective": OBJECTIVES[gives]}
    here = carried_out(short(stage, networks={"teacher": LOCAL}), tmp_path / "here")
    with scoring() as server:
        definition = short(stage, networks={"teacher": served(server, gives)})
        there = carried_out(definition, tmp_path / "there")
    assert len(losses(here)) == 3
    # The tail of the top tokens is 1 minus their probabilities, known to float32's resolution of 1.
    rounding = 1e-3 if gives == "top_k" else 1e-4
    assert losses(there) == pytest.approx(losses(here), rel=rounding, abs=1e-6)
    assert column(there, "grad_norm/student") == pytest.approx(
        column(here, "grad_norm/student"), rel=10 * rounding
    )
    assert column(there, "teacher/main/share") == [1.0] * 3
    assert all(seconds > 0 for seconds in column(there, "teacher/main/seconds"))
    assert all(size > 10 for size in column(there, "teacher/main/bytes_per_token"))
    assert column(there, "teacher/main/failures") == [0.0] * 3
    measure = "log_ratio" if gives == "sampled" else "divergence"
    assert len(column(there, f"teacher/main/{measure}")) == 3
    assert not column(here, "teacher/main/share")


def test_specialists_on_servers_are_routed_by_domain(tmp_path: Path) -> None:
    """Each row is scored by the teacher of its domain, and each teacher has its own metrics."""
    stage = {"objective": OBJECTIVES["sampled"]}
    specialists = [{"domains": ["sub"], "teacher": {"kind": "model", "model": "builtin:confident"}}]
    networks = {"teacher": LOCAL, "specialists": specialists}
    here = carried_out(short(stage, networks=networks), tmp_path / "here")
    with scoring() as server, scoring(model=builtin("confident")) as other:
        networks = {
            "teacher": served(server, "sampled"),
            "specialists": [{"domains": ["sub"], "teacher": served(other, "sampled")}],
        }
        there = carried_out(short(stage, networks=networks), tmp_path / "there")
    assert losses(there) == pytest.approx(losses(here), rel=1e-4, abs=1e-6)
    shares = zip(
        column(there, "teacher/main/share"), column(there, "teacher/sub/share"), strict=True
    )
    assert [sum(pair) for pair in shares] == pytest.approx([1.0] * 3)
    assert any(0 < share < 1 for share in column(there, "teacher/sub/share"))


def test_two_names_for_one_model_are_refused(tmp_path: Path) -> None:
    """A proxy that has lost one of several models answers for it with another."""
    with scoring() as server, scoring() as other:
        specialist = served(other, "sampled", model="lawyer")
        other.names = ["lawyer"]
        networks = {
            "teacher": served(server, "sampled"),
            "specialists": [{"domains": ["sub"], "teacher": specialist}],
        }
        stage = {"objective": OBJECTIVES["sampled"]}
        assert start(short(stage, networks=networks), tmp_path) != 0
    assert "are the same model" in end(tmp_path)["reason"]


def test_answers_that_a_server_refuses_are_not_trained_on_and_counted(tmp_path: Path) -> None:
    stage = {"objective": OBJECTIVES["top_k"]}
    token = builtin().tokenizer.get_vocab()["3"]
    with scoring() as server:
        # Only texts of the run have it: the check is over before.
        teacher = served(server, "top_k", most_unscored=1.0)
        server.refused_after, server.refused = CHECKED, {token}
        folder = carried_out(short(stage, networks={"teacher": teacher}), tmp_path)
    unread = column(folder, "teacher/main/unread")
    assert sum(unread) > 0
    warnings = [event["message"] for event in events(folder, "log") if event["level"] == "warning"]
    assert any("are not trained on" in message and "too long" in message for message in warnings)


def test_too_many_answers_without_scores_end_the_run(tmp_path: Path) -> None:
    with scoring() as server:
        server.refused_after, server.refused = CHECKED, set(range(builtin().vocabulary))
        stage = {"objective": OBJECTIVES["top_k"]}
        definition = short(stage, networks={"teacher": served(server, "top_k")})
        assert start(definition, tmp_path) != 0
    assert "networks.teacher.most_unscored" in end(tmp_path)["reason"]


def test_a_server_that_breaks_down_in_mid_run_changes_no_number(tmp_path: Path) -> None:
    stage = {"objective": OBJECTIVES["sampled"]}
    with scoring() as server:
        definition = short(stage, networks={"teacher": served(server, "sampled")})
        whole = carried_out(definition, tmp_path / "whole")
        server.fails_at = len(server.scored) + CHECKED + 5
        broken = carried_out(definition, tmp_path / "broken")
    assert losses(broken) == losses(whole)
    assert sum(column(broken, "teacher/main/failures")) >= 1


def test_a_run_samples_ahead_while_its_teacher_scores(tmp_path: Path) -> None:
    """With overlap the answers are those of the weights one step before, at the same teacher."""
    stage = {"objective": {"kind": "forward_kl"}}
    compute = {"overlap": True}
    here = carried_out(short(stage, networks={"teacher": LOCAL}, compute=compute), tmp_path / "h")
    with scoring() as server:
        networks = {"teacher": served(server, "hidden_states")}
        there = carried_out(short(stage, networks=networks, compute=compute), tmp_path / "t")
    assert losses(there) == pytest.approx(losses(here), rel=1e-3, abs=1e-6)


def test_a_resumed_run_refuses_another_model(tmp_path: Path) -> None:
    stage = {"objective": OBJECTIVES["sampled"]}
    with scoring() as server:
        teacher = served(server, "sampled")
        definition = short(stage, networks={"teacher": teacher}, checkpoints={"every": 1})
        carried_out(definition, tmp_path)
        server.model = builtin("confident")
        assert run.resume(tmp_path) != 0
    assert "before the run was resumed" in end(tmp_path, attempt=2)["reason"]


def test_each_of_two_processes_has_its_own_rows_scored(tmp_path: Path) -> None:
    """Rows without scores are left out on both, whichever of them has asked."""
    stage = {"objective": OBJECTIVES["top_k"]}
    token = builtin().tokenizer.get_vocab()["3"]
    folders = [tmp_path / "one", tmp_path / "two"]
    unread = []
    for folder, count in zip(folders, (1, 2), strict=True):
        with scoring() as server:
            teacher = served(server, "top_k", most_unscored=1.0)
            server.refused_after, server.refused = CHECKED * count, {token}
            compute = {"processes": count}
            definition = short(stage, networks={"teacher": teacher}, compute=compute)
            (tmp_path / "run.yaml").write_text(to_yaml(definition))
            command = [*processes.TRAINER, "run", str(tmp_path / "run.yaml"), "--dir", str(folder)]
            assert subprocess.run(command, timeout=280).returncode == 0
        unread.append(
            [
                event["message"].split(" ", 1)[0]
                for event in events(folder, "log")
                if "have no scores" in event["message"]
            ]
        )
    assert losses(folders[0]) == pytest.approx(losses(folders[1]), rel=1e-3)
    assert unread[0] == unread[1] != []
