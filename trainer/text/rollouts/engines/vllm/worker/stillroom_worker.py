"""vLLM worker extension: load new weights from a file and report which ones were loaded.

Runs in vLLM's own environment: nothing of this project can be imported here, and `self` is a vLLM
worker. It is called by name through the server's route `/collective_rpc`.

After its own reload vLLM for CPU computes logits with the old `lm_head` where this is tied to the
embedding, because it keeps a packed copy of the matrix from model start. So the head is tied and
packed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from safetensors import safe_open


class WeightLoader:
    """Methods of every worker; they return JSON values."""

    model_runner: Any
    stillroom_taken: dict[str, Any]

    def stillroom_load(self, path: str, version: str) -> dict[str, Any]:
        """Load all weights of a safetensors file; return the version and each tensor's checksum."""
        sums: dict[str, str] = {}
        self.model_runner.reload_weights(weights_iterator=hashed(path, sums))
        tie_again(self.model_runner.get_model())
        self.stillroom_taken = {"version": int(version), "checksums": sums}
        return self.stillroom_taken

    def stillroom_weights(self) -> dict[str, Any]:
        """What was loaded last; version −1 if nothing was since the start."""
        return getattr(self, "stillroom_taken", {"version": -1, "checksums": {}})


def hashed(path: str, sums: dict[str, str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a file; put each checksum into `sums`."""
    with safe_open(path, framework="pt") as file:
        for name in list(file.keys()):
            tensor = file.get_tensor(name)
            sums[name] = checksum(tensor)
            yield name, tensor


def checksum(tensor: torch.Tensor) -> str:
    """BLAKE2b of the tensor's bytes in memory order."""
    # As bytes, because NumPy has no bfloat16.
    data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(data.data, digest_size=16).hexdigest()


def tie_again(model: Any) -> None:
    """Compute logits with the newly loaded embedding, where head and embedding are tied."""
    head = getattr(model, "lm_head", None)
    if head is None or not getattr(model.config, "tie_word_embeddings", False):
        return
    head.weight = model.model.embed_tokens.weight
    head.quant_method.process_weights_after_loading(head)
