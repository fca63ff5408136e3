"""The student's weights as a model folder for vLLM: adapter merged, one number format, no padding.

Checkpoints pad the embedding to a round number of rows. The trainer's softmax leaves these rows
out; vLLM would sample from them, so they are not sent.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from trainer.text.language import adapters
from trainer.text.language.models import NUMBER_FORMATS, LanguageModel
from trainer.text.rollouts.engines.vllm.worker.stillroom_worker import checksum

FILE = "model.safetensors"


def plain_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """All weights under the names of the network without an adapter, detached."""
    adapted = any(".lora_" in name for name, _ in model.named_parameters())
    return (
        adapters.merged_weights(model)
        if adapted
        else {name: value.detach() for name, value in model.state_dict().items()}
    )


def write_description(student: LanguageModel, dtype: str, folder: Path) -> None:
    """The configuration file of a model folder with `student`'s shape."""
    folder.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(student.model.config)
    config.vocab_size, config.dtype, config.architectures = (
        student.vocabulary,
        NUMBER_FORMATS[dtype],
        [type(student.model).__name__],
    )
    config.save_pretrained(folder)


def write_weights(
    student: LanguageModel, weights: Mapping[str, Tensor], dtype: str, folder: Path
) -> dict[str, str]:
    """Replace the weights in the model folder; return the checksum of every tensor."""
    layers = [student.model.get_input_embeddings(), student.model.get_output_embeddings()]
    token_rows = {id(parameter) for layer in layers for parameter in layer.parameters()}
    # By identity and with duplicates: a tied matrix has one parameter under two names.
    vocabulary_wide = {
        name
        for name, parameter in student.model.named_parameters(remove_duplicate=False)
        if id(parameter) in token_rows
    }
    trimmed = {
        name: value[: student.vocabulary] if name in vocabulary_wide else value
        for name, value in weights.items()
    }
    if student.model.config.tie_word_embeddings:
        trimmed = {
            name: value for name, value in trimmed.items() if not name.startswith("lm_head.")
        }
    tensors = {
        # safetensors refuses tensors that are not contiguous.
        name: value.to("cpu", NUMBER_FORMATS[dtype]).contiguous()
        for name, value in trimmed.items()
    }
    # The server may start from this folder at any time, so the file is replaced in one step.
    new_file = folder / f"{FILE}.new"
    save_file(tensors, new_file, {"format": "pt"})
    new_file.replace(folder / FILE)
    return {name: checksum(tensor) for name, tensor in tensors.items()}


@torch.no_grad()
def logprobs_of(student: LanguageModel, ids: tuple[int, ...]) -> Tensor:
    """The trainer's log-probs of ids[1:], each given the ids before it, float32 [T − 1]."""
    tokens = torch.tensor([ids], device=student.device)
    logits_TV = student.model(tokens, use_cache=False).logits[0, :-1, : student.vocabulary].float()
    return logits_TV.log_softmax(-1).gather(-1, tokens[0, 1:, None])[:, 0].cpu()
