"""The engine on a vLLM server: its requests, and its reaction to wrong, invalid or no replies."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from tests.trainer.text.rollouts.vllm_double import Manners, opening
from tests.trainer.text.tiny import VOCABULARY, language_model
from trainer.engine.outcome import Failure, RunRefused
from trainer.spec.networks import LowRankAdapter
from trainer.spec.operation import VllmSampler
from trainer.spec.sampling import Sampling
from trainer.text.language import adapters
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.vllm import guard
from trainer.text.rollouts.engines.vllm.engine import VllmEngine
from trainer.text.rollouts.engines.vllm.server import Launch, Server
from trainer.text.rollouts.records import SampleRequest

LAW = Sampling(max_new_tokens=6)
REQUESTS = [SampleRequest("a", (3, 4, 5), (0, 1, 2)), SampleRequest("b", (6, 7), (0, 4))]


def student(tied: bool = True) -> LanguageModel:
    """A model of its own for each test, with more embedded rows than the tokenizer has ids."""
    shared = language_model("qwen2", tie_word_embeddings=tied, vocab_size=VOCABULARY + 5)
    return replace(shared, model=copy.deepcopy(shared.model))


def engine_over(
    manners: Manners,
    folder: Path,
    model: LanguageModel | None = None,
    log_warning: Any = lambda sentence: None,
) -> VllmEngine:
    launch = Launch(VllmSampler(), "float32", 64, eager=True)
    engine = VllmEngine(
        model or student(), launch, 4, folder / "vllm", log_warning, start_server=opening(manners)
    )
    engine.update(0)
    return engine


def step(model: LanguageModel) -> None:
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.add_(0.01 * torch.ones_like(parameter).uniform_(-1, 1))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("adapted", [True, False])
def test_answers_and_updates_follow_the_student(tmp_path: Path, tied: bool, adapted: bool) -> None:
    model = student(tied)
    if adapted:
        adapters.add_adapter(model, LowRankAdapter(rank=2, alpha=4.0), 0)
    engine = engine_over(Manners(), tmp_path, model)
    for version in (0, 1):
        engine.update(version)
        answers = engine.write(REQUESTS, LAW, Noise(0, 0))
        assert [(answer.problem, answer.sample, answer.prompt) for answer in answers] == [
            *(("a", sample, (3, 4, 5)) for sample in range(3)),
            ("b", 0, (6, 7)),
            ("b", 4, (6, 7)),
        ]
        for answer in answers:
            ids = torch.tensor([answer.prompt + answer.ids])
            with torch.no_grad():
                law_TV = (
                    model.model(ids)
                    .logits[0, len(answer.prompt) - 1 : -1, :VOCABULARY]
                    .log_softmax(-1)
                )
            np.testing.assert_allclose(
                answer.logprobs,
                law_TV.gather(-1, torch.tensor(answer.ids)[:, None])[:, 0],
                atol=1e-5,
            )
            assert answer.versions == (version,)
        step(model)
    engine.close()


def test_every_answer_has_a_seed_of_its_own_that_a_repetition_has_again(tmp_path: Path) -> None:
    manners = Manners()
    engine = engine_over(manners, tmp_path)
    first, repeated = (engine.write(REQUESTS, LAW, Noise(0, 0)) for _ in range(2))
    assert [answer.ids for answer in first] == [answer.ids for answer in repeated]
    engine.write(REQUESTS, LAW, Noise(0, 1))
    assert sorted(Counter(body["seed"] for body in manners.bodies).values()) == [1] * 5 + [2] * 5
    engine.close()


def test_log_probs_at_another_temperature_are_of_the_sampling_distribution_only(
    tmp_path: Path,
) -> None:
    engine = engine_over(Manners(), tmp_path)
    for answer in engine.write(REQUESTS, Sampling(temperature=0.5, max_new_tokens=4), Noise(0, 0)):
        assert np.isnan(answer.logprobs).all() and np.isfinite(answer.sampled_logprobs).all()
    for answer in engine.write(REQUESTS, Sampling(temperature=0, max_new_tokens=4), Noise(0, 0)):
        assert np.isnan(answer.sampled_logprobs).all()
    engine.close()


def test_an_update_that_the_server_only_claims_to_have_taken_is_caught(tmp_path: Path) -> None:
    manners, model = Manners(takes_weights=False), student()
    engine = engine_over(manners, tmp_path, model)
    step(model)
    with pytest.raises(Failure, match="does not write with the weights of update 1"):
        engine.update(1)
    engine.close()


def test_weights_that_were_changed_on_their_way_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = student()
    engine = engine_over(Manners(), tmp_path, model)
    monkeypatch.setattr(
        "tests.trainer.text.rollouts.vllm_double.checksum", lambda tensor: "another"
    )
    step(model)
    with pytest.raises(Failure, match="did not take the weights of update 1"):
        engine.update(1)
    monkeypatch.undo()
    # What the server has is unknown, so the same update is sent again.
    engine.update(1)
    assert {answer.versions for answer in engine.write(REQUESTS, LAW, Noise(0, 0))} == {(1,)}
    engine.close()


def test_a_server_that_dies_in_an_update_is_restarted_with_the_new_weights(tmp_path: Path) -> None:
    manners, model = Manners(worker_replies=[None]), student()
    engine = engine_over(manners, tmp_path, model)
    step(model)
    engine.update(1)
    answers = engine.write(REQUESTS, LAW, Noise(0, 1))
    assert manners.started == 2 and {answer.versions for answer in answers} == {(1,)}
    engine.close()


def test_a_restarted_server_with_other_weights_is_caught_under_the_number_of_the_update(
    tmp_path: Path,
) -> None:
    def start_with_others(*arguments: Any) -> Any:
        server = opening(manners)(*arguments)
        step(replace(model, model=server.model))
        return server

    manners, model = Manners(worker_replies=[None]), student()
    engine = engine_over(manners, tmp_path, model)
    engine.start_server = start_with_others
    step(model)
    with pytest.raises(Failure, match="does not write with the weights of update 1:"):
        engine.update(1)
    engine.close()


@pytest.mark.parametrize("reply", [{}, {"results": None}, [], b""])
def test_an_invalid_reply_to_an_update_gives_a_clear_error(tmp_path: Path, reply: Any) -> None:
    model = student()
    engine = engine_over(Manners(worker_replies=[(200, reply)]), tmp_path, model)
    step(model)
    with pytest.raises(Failure, match="answered /collective_rpc with something else"):
        engine.update(1)
    engine.close()


def test_a_network_that_vllm_cannot_compute_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"cannot compute this network.*EngineCore is dead"):
        engine_over(Manners(computes=False), tmp_path)


def test_a_server_that_dies_in_a_round_loses_no_answer(tmp_path: Path) -> None:
    manners = Manners(dies_after=[2, 1, 50])
    warnings: list[str] = []
    engine = engine_over(manners, tmp_path, log_warning=warnings.append)
    untroubled = engine_over(Manners(), tmp_path / "other", engine.student)
    arrived: list[int] = []
    answers = engine.write(REQUESTS, LAW, Noise(0, 0), lambda done, of: arrived.append(done))
    assert [answer.ids for answer in answers] == [
        answer.ids for answer in untroubled.write(REQUESTS, LAW, Noise(0, 0))
    ]
    assert arrived == [1, 2, 3, 4, 5] and manners.started == 3
    assert set(Counter(body["seed"] for body in manners.bodies).values()) == {1}
    assert len(warnings) == 2 and "3 answers of this step are still to come" in warnings[0]
    engine.close()
    untroubled.close()


def test_a_server_that_keeps_dying_ends_the_run(tmp_path: Path) -> None:
    engine = engine_over(Manners(dies_after=[0] * 9), tmp_path)
    with pytest.raises(Failure, match="died 4 times in a row"):
        engine.write(REQUESTS, LAW, Noise(0, 0))


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ((400, {"error": "too long"}), "vLLM refused a request.*too long"),
        ((200, b"<html>"), "something else than it should"),
        ((200, {"choices": []}), "something else than it should"),
        (
            (
                200,
                {
                    "choices": [
                        {
                            "token_ids": [3],
                            "logprobs": {"token_logprobs": []},
                            "prompt_logprobs": None,
                        }
                    ]
                },
            ),
            "something else",
        ),
        (
            (
                200,
                {
                    "choices": [
                        {
                            "token_ids": [99],
                            "logprobs": {"token_logprobs": [-1.0]},
                            "prompt_logprobs": None,
                        }
                    ]
                },
            ),
            "something else",
        ),
    ],
)
def test_invalid_replies_and_refusals_give_clear_errors(
    tmp_path: Path, reply: tuple[int, Any], sentence: str
) -> None:
    engine = engine_over(Manners(reply=lambda body: reply), tmp_path)
    with pytest.raises(Failure, match=sentence):
        engine.write(REQUESTS, LAW, Noise(0, 0))
    engine.close()


def test_a_run_that_is_stopped_ends_at_once(tmp_path: Path) -> None:
    def leave(done: int, of: int) -> None:
        raise KeyboardInterrupt

    engine = engine_over(Manners(), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        engine.write(REQUESTS, LAW, Noise(0, 0), leave)
    engine.close()


def test_without_vllm_the_run_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_VLLM_PYTHON", str(tmp_path / "none"))
    with pytest.raises(
        RunRefused, match=r"compute\.sampler\.kind: vllm is not installed on this machine"
    ) as refused:
        Server(Launch(VllmSampler(), "float32", 64, eager=True), tmp_path, tmp_path / "log")
    assert "make vllm" in refused.value.remedy


def test_a_server_that_does_not_come_up_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python itself stands in for vLLM's: it has no such module."""
    monkeypatch.setenv("STILLROOM_VLLM_PYTHON", sys.executable)
    with pytest.raises(
        Failure, match=r"The vLLM server ended; the last words of log are: .*No module named"
    ):
        Server(Launch(VllmSampler(), "float32", 64, eager=True), tmp_path, tmp_path / "log")


def test_the_server_sees_no_secret_of_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLROOM_SECRET_KEY_OF_A_TEAM", "hidden")
    assert "hidden" not in Launch(VllmSampler(), "float32", 64, eager=True).environment().values()


def test_a_server_and_its_children_die_with_the_trainer(tmp_path: Path) -> None:
    """The trainer's stand-in is killed with SIGKILL; the server sees only the closed pipe."""
    server = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; "
        "time.sleep(600)']); time.sleep(600)"
    )
    owner = (
        "import subprocess, sys, time\n"
        f"guard = subprocess.Popen([sys.executable, {guard.__file__!r}, sys.executable, '-c', "
        f"{server!r}],"
        " stdin=subprocess.PIPE, start_new_session=True)\n"
        "print(guard.pid, flush=True)\ntime.sleep(600)\n"
    )
    trainer = subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True)
    assert trainer.stdout is not None
    group = int(trainer.stdout.readline())
    _until(lambda: len(_members(group)) == 3)
    os.kill(trainer.pid, signal.SIGKILL)
    trainer.wait()
    _until(lambda: not _members(group))


def _until(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _members(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    result = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                result.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return result
