"""vLLM worker extension: give the hidden states after the final norm for given token ids.

The operator of a vLLM server copies this file, or puts its folder on PYTHONPATH, and starts with

    VLLM_SERVER_DEV_MODE=1 VLLM_USE_V2_MODEL_RUNNER=0 vllm serve MODEL
        --worker-extension-cls stillroom_hidden_states.HiddenStates

Runs in vLLM's own environment: nothing of this project can be imported here, and `self` is a vLLM
worker. A request whose id begins with `stillroom-hidden-` and asks for `prompt_logprobs` has the
states of its prompt kept in the memory of the worker, until `take_hidden_states` is called by name
through `/collective_rpc`. vLLM computes such a prompt completely, without its prefix cache.

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import torch
from vllm.distributed import get_tensor_model_parallel_rank  # type: ignore[import-not-found]
from vllm.v1.worker.gpu_model_runner import GPUModelRunner  # type: ignore[import-not-found]

# vLLM writes something of its own before and after the id of a request.
REQUEST = re.compile(r"stillroom-hidden-[0-9a-f]+")
# Bytes of states that nobody has taken: the oldest are given up beyond.
MOST_KEPT = 4 * 2**30


class KeptStates:
    """States by request, oldest first; of each request parts [T, H] by their first position."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[int, torch.Tensor]] = {}
        self.bytes = 0

    def keep(self, request: str, first: int, states_TH: torch.Tensor) -> None:
        # A copy, because vLLM computes the next batch in the same memory. A prompt that is
        # interrupted is computed again from its beginning.
        copied_TH = states_TH.detach().to("cpu", copy=True)
        parts = self.parts.setdefault(request, {})
        replaced = parts.pop(first, None)
        parts[first] = copied_TH
        self.bytes += copied_TH.nbytes - (replaced.nbytes if replaced is not None else 0)
        while self.bytes > MOST_KEPT and len(self.parts) > 1:
            self.take(next(iter(self.parts)))

    def take(self, request: str) -> torch.Tensor | None:
        """Remove and return the states of a prompt from its beginning, [T, H]."""
        parts = self.parts.pop(request, {})
        self.bytes -= sum(part.nbytes for part in parts.values())
        joined: list[torch.Tensor] = []
        position = 0
        for first, part in sorted(parts.items()):
            if first > position:
                break
            joined.append(part[position - first :])
            position = max(position, first + len(part))
        return torch.cat(joined) if joined else None


kept_states = KeptStates()
compute_prompt_logprobs = GPUModelRunner._get_prompt_logprobs_dict


def _keep_and_compute(
    self: Any, hidden_states: torch.Tensor, num_scheduled_tokens: dict[str, int]
) -> Any:
    """Keep the states that vLLM computes the log-probs of prompts from, then compute them."""
    for name in self.num_prompt_logprobs:
        request, tokens = REQUEST.search(name), num_scheduled_tokens.get(name)
        if request and tokens:
            row = int(self.query_start_loc.np[self.input_batch.req_id_to_index[name]])
            first = int(self.requests[name].num_computed_tokens)
            kept_states.keep(request[0], first, hidden_states[row : row + tokens])
    return compute_prompt_logprobs(self, hidden_states, num_scheduled_tokens)


# The only place where vLLM has the states of a prompt together with the ids of its requests.
GPUModelRunner._get_prompt_logprobs_dict = _keep_and_compute


class HiddenStates:
    """A method of every worker; it returns JSON values."""

    def take_hidden_states(self, request: str, first: int, last: int) -> dict[str, Any] | None:
        """The states at the positions `first` to `last` − 1 of a prompt, once.

        None for an unknown request, and from the workers that compute the same states as another.
        """
        states_TH = kept_states.take(request)
        if states_TH is None or get_tensor_model_parallel_rank() != 0:
            return None
        states_TH = states_TH[int(first) : int(last)].contiguous()
        return {
            "data": base64.b64encode(states_TH.view(torch.uint8).numpy().tobytes()).decode(),
            "dtype": str(states_TH.dtype).removeprefix("torch."),
            "shape": list(states_TH.shape),
        }
