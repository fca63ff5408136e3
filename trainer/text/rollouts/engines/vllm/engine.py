"""The engine over a vLLM server, with the same protocol as the in-process engine.

The student's weights of each version are in a model folder, from which the server starts, so a
restart needs nothing else. One HTTP request is one answer with its own seed; an answer that has
arrived is kept whatever happens to the server afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.engine.outcome import Failure
from trainer.spec.controllers.controller import Ability
from trainer.spec.operation import VllmSampler
from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts import streaming
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.vllm import gpu_memory
from trainer.text.rollouts.engines.vllm.answer_stream import MOST_THREADS, AnswerStream
from trainer.text.rollouts.engines.vllm.client import EventStream, ServerGone, invalid_reply
from trainer.text.rollouts.engines.vllm.completions import (
    COMPLETIONS,
    MOST_TOP,
    choice_of,
    common,
    prompt_logprobs,
)
from trainer.text.rollouts.engines.vllm.server import Launch, Server, last_errors
from trainer.text.rollouts.engines.vllm.weight_check import WeightCheck, check_text
from trainer.text.rollouts.engines.vllm.weights import (
    FILE,
    logprobs_of,
    plain_weights,
    write_description,
    write_weights,
)
from trainer.text.rollouts.records import Progress, SampleRequest, Trajectory
from trainer.text.rollouts.streaming import Measures, Stream, UnableEngine

RPC = "/collective_rpc"
LOG = "vllm.log"
# In a row, without one answer between them: a network that kills every server must end the run.
RESTARTS = 3


@dataclass
class VllmEngine:
    """Requests `rows` answers side by side; `folder` holds weights and log.

    `log_warning` reports restarts.
    """

    student: LanguageModel
    launch: Launch
    rows: int
    folder: Path
    log_warning: Callable[[str], None] = lambda _: None
    version: int = -1
    start_server: Callable[[Launch, Path, Path], Server] = Server
    server: Server | None = None
    _failures: int = 0
    _check: WeightCheck = field(init=False)
    _check_ids: tuple[int, ...] = field(init=False)
    _expected: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._check = WeightCheck(self.launch.settings.tolerance)
        self._check_ids = check_text(self.student.vocabulary, self.launch.longest)
        write_description(self.student, self.launch.dtype, self.folder)

    def update(self, version: int) -> None:
        """Load the student's present weights into the server.

        Raises Failure if the server does not sample with them.
        """
        if version == self.version:
            return
        weights = plain_weights(self.student.model)
        checksums = write_weights(self.student, weights, self.launch.dtype, self.folder)
        self._expected = logprobs_of(self.student, self._check_ids)
        # Now, because a server that dies while it is updated is restarted from these weights.
        self.version = version
        if self.server is None:
            self._start()
            try:
                measured = self._server_logprobs()
            except ServerGone as error:
                # The first request fails where vLLM lacks the network: a restart would not help.
                errors = last_errors(self.folder / LOG)
                raise Failure(
                    f"vLLM cannot compute this network ({error}); the last words of {LOG} are: "
                    f"{errors}"
                ) from error
            self._check.begin(self._expected, measured)
            return
        try:
            self._send(checksums)
        except Failure:
            # What the server has is unknown, so that the same update must be sent again.
            self.version = -1
            raise

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        """See `Engine`.

        A server that dies is restarted and asked for the missing answers. Raises Failure if it
        keeps dying.
        """
        return streaming.write(self, requests, sampling, noise, progress)

    @property
    def abilities(self) -> frozenset[Ability]:
        return VllmSampler.abilities

    def stream(self, sampling: Sampling, noise: Noise, measures: Measures | None = None) -> Stream:
        """See `StreamingEngine`. Answers are watched as `AnswerStream` says."""
        measures = measures or Measures()
        if measures.entropy:
            raise UnableEngine(
                "vLLM does not report the entropy of its distributions.",
                "Choose compute.sampler.kind in_process.",
            )
        if measures.top > MOST_TOP:
            raise UnableEngine(
                f"vLLM reports the {MOST_TOP} most likely tokens at most, not {measures.top}.",
                "Ask for fewer, or choose compute.sampler.kind in_process.",
            )
        if measures.top and sampling.temperature != 1:
            raise UnableEngine(
                "vLLM reports likely tokens of the distribution that it samples from, which is the "
                f"student's own at temperature 1 only, not at {sampling.temperature:g}.",
                "Set the temperature to 1, or choose compute.sampler.kind in_process.",
            )
        return AnswerStream(
            self,
            self.student.eos_ids,
            self.student.vocabulary,
            sampling,
            noise,
            measures,
            self.version,
            self.rows,
        )

    def score(
        self, texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> list[NDArray[np.float32]]:
        """See `StreamingEngine`."""
        scores: dict[int, list[float]] = {}
        while missing := [index for index in range(len(texts)) if index not in scores]:
            with ThreadPoolExecutor(min(self.rows, MOST_THREADS)) as pool:
                futures = {
                    index: pool.submit(self._own_logprobs, texts[index][0] + texts[index][1])
                    for index in missing
                }
            server_gone: ServerGone | None = None
            for index, future in futures.items():
                try:
                    scores[index] = future.result()
                except ServerGone as error:
                    server_gone = error
            if server_gone:
                self.restart(str(server_gone), len(texts) - len(scores))
        return [
            np.array(scores[index][len(prompt) - 1 :], np.float32)
            for index, (prompt, _) in enumerate(texts)
        ]

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    # Requests, also those of an `AnswerStream`.

    def complete(self, body: Mapping[str, Any]) -> Any:
        """Return the server's reply to a request for tokens. Raises ServerGone."""
        assert self.server is not None
        return self.server.call(COMPLETIONS, {**common(self.version), **body})

    def open_events(self, body: Mapping[str, Any]) -> EventStream:
        """Return a request for tokens that is answered token by token."""
        assert self.server is not None
        return self.server.events(COMPLETIONS, {**common(self.version), **body, "stream": True})

    def count_answer(self) -> None:
        """Note that the server finishes answers: restarts are counted from here."""
        self._failures = 0

    def _own_logprobs(self, ids: tuple[int, ...]) -> list[float]:
        """The server's log-probs of ids[1:], in the model's own distribution."""
        request = {"prompt": list(ids), "max_tokens": 1, "temperature": 1.0, "prompt_logprobs": 0}
        return prompt_logprobs(choice_of(self.complete(request)), ids)

    # Weights.

    def _send(self, checksums: dict[str, str]) -> None:
        load = {
            "method": "stillroom_load",
            "args": [str((self.folder / FILE).resolve()), str(self.version)],
        }
        try:
            # Each worker reports twice: what it loads, and in a second query what it has.
            for request in (load, {"method": "stillroom_weights"}):
                for worker, loaded in enumerate(self._call_workers(request)):
                    if loaded != {"version": self.version, "checksums": checksums}:
                        raise Failure(
                            f"vLLM did not take the weights of update {self.version} (worker "
                            f"{worker} has others).",
                            "Resume the run to restart it.",
                        )
            self._check.check_update(self.version, self._expected, self._server_logprobs())
        except ServerGone as error:
            self.restart(str(error), 0)

    def _call_workers(self, request: dict[str, Any]) -> list[Any]:
        """Return the reply of each worker of the server."""
        assert self.server is not None
        reply = self.server.call(RPC, request)
        try:
            return list(reply["results"])
        except (TypeError, KeyError) as error:
            raise invalid_reply(RPC, reply) from error

    def _server_logprobs(self) -> Tensor:
        """The server's log-probs of the fixed text, float32 [T − 1]."""
        return torch.tensor(self._own_logprobs(self._check_ids))

    # The server's life.

    def _start(self) -> None:
        launch = self.launch
        if launch.gpus:
            launch = replace(launch, gpu_share=launch.settings.gpu_share or self._gpu_share())
        self.server = self.start_server(launch, self.folder, self.folder / LOG)

    def _gpu_share(self) -> float:
        """The share of its GPUs' memory that the server needs now, beside the trainer."""
        settings, own = self.launch.settings, self.student.device.index or 0
        needed = gpu_memory.server_bytes(self.student, self.launch.dtype, settings)
        memory = gpu_memory.measured(len(self.launch.gpus), own, settings)
        share = gpu_memory.gpu_share(needed, memory)
        # Only on the trainer's own GPU does the trainer grow.
        if not settings.devices or own in settings.devices:
            warning = gpu_memory.warning(needed, memory, self.student)
            if warning and self._failures == 0:
                self.log_warning(warning)
        return share

    def restart(self, why: str, missing: int) -> None:
        """Start a new server on the last weights; `missing` answers are still to come.

        Raises Failure after too many restarts in a row without an answer between them.
        """
        self.close()
        self._failures += 1
        if self._failures > RESTARTS:
            raise Failure(
                f"The vLLM server died {self._failures} times in a row ({why}).",
                f"Its last words are in {self.folder / LOG}.",
            )
        self.log_warning(
            f"The vLLM server is gone ({why}). It is started again; {missing} answers of this "
            "step are still to come."
        )
        self._start()
        try:
            measured = self._server_logprobs()
        except ServerGone as error:
            self.restart(str(error), missing)
        else:
            self._check.check_update(self.version, self._expected, measured)
