"""The engine over a vLLM server, with the same protocol as the in-process engine.

The student's weights of each version are in a model folder, from which the server starts, so a
restart needs nothing else. One HTTP request is one answer with its own seed; an answer that has
arrived is kept whatever happens to the server afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.engine.outcome import Failure
from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines.noise import Noise, rollout_keys
from trainer.text.rollouts.engines.vllm import gpu_memory
from trainer.text.rollouts.engines.vllm.client import MODEL, ServerGone, invalid_reply
from trainer.text.rollouts.engines.vllm.server import Launch, Server, last_errors
from trainer.text.rollouts.engines.vllm.weight_check import WeightCheck, check_text
from trainer.text.rollouts.engines.vllm.weights import (
    FILE,
    logprobs_of,
    plain_weights,
    write_description,
    write_weights,
)
from trainer.text.rollouts.records import Progress, SampleRequest, Segment, Trajectory

COMPLETIONS, RPC = "/v1/completions", "/collective_rpc"
LOG = "vllm.log"
# Each open request holds a thread of the trainer.
MOST_THREADS = 256
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
        else:
            self._send(checksums)

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
        samples = [(request, sample) for request in requests for sample in request.samples]
        # A server counts its own noise from a request's first token, so the rest of an answer needs
        # another seed than its beginning.
        if noise.offset:
            noise = replace(noise, purpose=f"{noise.purpose}+{noise.offset}", offset=0)
        keys = rollout_keys(noise, ((request.problem, sample) for request, sample in samples))
        trajectories: dict[int, Trajectory] = {}
        while missing := [index for index in range(len(samples)) if index not in trajectories]:
            try:
                self._write_missing(
                    missing,
                    samples,
                    # vLLM takes signed 64-bit seeds.
                    [int(key >> np.uint64(1)) for key in keys],
                    sampling,
                    trajectories,
                    progress,
                )
            except ServerGone as error:
                self._restart(str(error), len(samples) - len(trajectories))
        return [trajectories[index] for index in range(len(samples))]

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    # Answers.

    def _write_missing(
        self,
        missing: Sequence[int],
        samples: Sequence[tuple[SampleRequest, int]],
        seeds: Sequence[int],
        sampling: Sampling,
        trajectories: dict[int, Trajectory],
        progress: Progress | None,
    ) -> None:
        """Add answers to `trajectories`, also those that arrive after a request has failed."""
        server_gone: ServerGone | None = None
        with ThreadPoolExecutor(min(self.rows, MOST_THREADS)) as pool:
            index_by_future = {
                pool.submit(self._answer, *samples[index], seeds[index], sampling): index
                for index in missing
            }
            try:
                for future in as_completed(index_by_future):
                    error = future.exception()
                    if isinstance(error, ServerGone):
                        # Answers to the other open requests may still arrive, so the loop goes on.
                        server_gone = server_gone or error
                        continue
                    trajectories[index_by_future[future]], self._failures = future.result(), 0
                    if progress:
                        progress(len(trajectories), len(samples))
            finally:
                # `progress` may have cancelled the run: requests without a thread are not sent.
                pool.shutdown(cancel_futures=True)
        if server_gone:
            raise server_gone

    def _answer(
        self, request: SampleRequest, sample: int, seed: int, sampling: Sampling
    ) -> Trajectory:
        body = {
            "prompt": list(request.prompt),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": seed,
            "logprobs": 0,
            # The server reads no tokenizer; its own end token is that of the configuration file,
            # which may be none of the student's.
            "stop_token_ids": list(self.student.eos_ids),
            "ignore_eos": True,
        }
        choice = self._complete(body)
        ids, token_logprobs = (
            tuple(choice["token_ids"]),
            np.array(choice["logprobs"]["token_logprobs"], dtype=np.float32),
        )
        if (
            not ids
            or len(ids) != len(token_logprobs)
            or max(ids) >= self.student.vocabulary
            or len(ids) > sampling.max_new_tokens
        ):
            raise invalid_reply(COMPLETIONS, choice)
        # The server reports log-probs of the sampling distribution only, and no entropies. At
        # temperature 1 that is the model's own distribution, because the definition may not cut it.
        unknown = np.full(len(ids), np.nan, np.float32)
        model_logprobs, sampled_logprobs = (
            token_logprobs if sampling.temperature == 1 else unknown,
            token_logprobs if sampling.temperature else unknown,
        )
        segment = Segment(ids, model_logprobs, sampled_logprobs, unknown, "student", self.version)
        return Trajectory(
            request.problem,
            sample,
            request.prompt,
            (segment,),
            truncated=ids[-1] not in self.student.eos_ids,
        )

    def _complete(self, body: dict[str, Any]) -> Any:
        assert self.server is not None
        # The salt keeps what vLLM remembers of prompts apart by version: it would reuse keys and
        # values of old weights.
        common = {
            "model": MODEL,
            "detokenize": False,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }
        reply = self.server.call(
            COMPLETIONS, {**common, "cache_salt": f"version {self.version}", **body}
        )
        try:
            (choice,) = reply["choices"]
            choice["token_ids"], choice["prompt_logprobs"], choice["logprobs"]
        except (TypeError, KeyError, ValueError) as error:
            raise invalid_reply(COMPLETIONS, reply) from error
        return choice

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
            self._restart(str(error), 0)

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
        choice = self._complete(
            {
                "prompt": list(self._check_ids),
                "max_tokens": 1,
                "temperature": 1.0,
                "prompt_logprobs": 0,
            }
        )
        try:
            entries = zip(self._check_ids[1:], choice["prompt_logprobs"][1:], strict=True)
            return torch.tensor([entry[str(id)]["logprob"] for id, entry in entries])
        except (TypeError, KeyError, ValueError) as error:
            raise invalid_reply(COMPLETIONS, choice) from error

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

    def _restart(self, why: str, missing: int) -> None:
        """Start a new server on the last weights.

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
            self._restart(str(error), missing)
        else:
            self._check.check_update(self.version, self._expected, measured)
