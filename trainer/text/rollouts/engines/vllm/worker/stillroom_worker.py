"""What vLLM's workers learn for us: to take new weights from a file, and to say which ones they
took.

Runs in vLLM's own environment, as a worker extension: nothing of this project can be imported here,
and `self` is a vLLM worker. It is called by name through the server's route `/collective_rpc`.

After its own reload vLLM for CPU computes logits with the old `lm_head` where this is tied to the
embedding: it keeps a packed copy of the matrix that is made when the model is opened. So the head
is tied and packed once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from safetensors import safe_open


class WeightLoader:
    """Methods of every worker. They return what JSON has."""

    model_runner: Any
    stillroom_taken: dict[str, Any]

    def stillroom_load(self, path: str, version: str) -> dict[str, Any]:
        """Take all weights of a safetensors file; the version and the checksum of every tensor that
        went into the network.
        """
        sums: dict[str, str] = {}
        self.model_runner.reload_weights(weights_iterator=hashed(path, sums))
        tie_again(self.model_runner.get_model())
        self.stillroom_taken = {"version": int(version), "checksums": sums}
        return self.stillroom_taken

    def stillroom_weights(self) -> dict[str, Any]:
        """What was taken last; version −1 if nothing was since the start."""
        return getattr(self, "stillroom_taken", {"version": -1, "checksums": {}})


def hashed(path: str, sums: dict[str, str]) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a file; the checksum of each is put into `sums` as it is handed on."""
    with safe_open(path, framework="pt") as file:
        for name in list(file.keys()):
            tensor = file.get_tensor(name)
            sums[name] = checksum(tensor)
            yield name, tensor


def checksum(tensor: torch.Tensor) -> str:
    """BLAKE2b of the tensor's bytes in memory order."""
    data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(data.data, digest_size=16).hexdigest()


def tie_again(model: Any) -> None:
    """Have logits computed with the embedding that has just been loaded, where both are one."""
    head = getattr(model, "lm_head", None)
    if head is None or not getattr(model.config, "tie_word_embeddings", False):
        return
    head.weight = model.model.embed_tokens.weight
    head.quant_method.process_weights_after_loading(head)
