"""A teacher on a real vLLM server: each of the three things it may give is what the network here
gives, and hidden states cost a fraction of what logits would.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from bench.served import server
from tests.trainer.text.tiny import save_folder
from trainer.spec import ServedTeacher
from trainer.spec.networks import Network
from trainer.text.language.hidden_states import Row
from trainer.text.language.models import LanguageModel, load
from trainer.text.language.text_models import open_tokenizer
from trainer.text.teachers.readings import HiddenReading, TopReading, WrittenReading
from trainer.text.teachers.served.served_view import RunHandle, ServedView, open_served

ROUNDING = 1e-4
ROWS: list[Row] = [
    ((5, 9, 4), (7,)),
    ((5, 9, 4, 11, 30, 8), (7, 12, 2, 1)),
    ((20, 3), tuple(range(4, 34))),
    ((5, 9, 4), (11, 1)),
]


class Served(NamedTuple):
    url: str
    folder: Path
    model: LanguageModel


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server as an operator starts it, with the extension and a short batch: prompts come in
    several parts.
    """
    folder = save_folder(
        tmp_path_factory.mktemp("model"),
        hidden_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=96,
        initializer_range=0.15,
    )
    options = {"--max-model-len": 100, "--max-num-batched-tokens": 16, "--max-num-seqs": 8}
    with server(folder, tmp_path_factory.mktemp("server") / "log", options) as url:
        yield Served(url, folder, load(Network(model=f"file:{folder}")))


def opened(served: Served, gives: dict[str, Any], check: dict[str, Any]) -> ServedView:
    teacher = ServedTeacher.model_validate(
        {
            "kind": "served",
            "urls": [served.url],
            "model": "large",
            "tokenizer": f"file:{served.folder}",
            "gives": gives,
            "check": check,
            "tolerance": 0.001,
            "longest_wait": 60,
        }
    )
    tokenizer = open_tokenizer(teacher.tokenizer_network)
    device = torch.device("cpu")
    return open_served("teacher", "networks.teacher", teacher, tokenizer, 64, device, RunHandle())


def own_logprobs(model: LanguageModel, row: Row) -> torch.Tensor:
    """[T, V] for the answer's tokens."""
    prompt, answer = row
    with torch.no_grad():
        logits = model.model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    return logits[:, : model.vocabulary].log_softmax(-1)


def written(log_TV: torch.Tensor, row: Row) -> torch.Tensor:
    return log_TV.gather(1, torch.tensor(row[1])[:, None])[:, 0]


@pytest.mark.parametrize("gives", [{"kind": "sampled"}, {"kind": "top_k", "k": 8}])
def test_log_probs_are_those_of_the_network(served: Served, gives: dict[str, Any]) -> None:
    check = {"kind": "local", "model": f"file:{served.folder}"}
    view = opened(served, gives, check)
    for reading, row in zip(view.read(ROWS, 1000), ROWS, strict=True):
        log_TV = own_logprobs(served.model, row)
        assert isinstance(reading, WrittenReading | TopReading)
        np.testing.assert_allclose(reading.written, written(log_TV, row), atol=ROUNDING)
        if gives["kind"] == "top_k":
            assert isinstance(reading, TopReading)
            top = log_TV.topk(8)
            np.testing.assert_array_equal(reading.ids, top.indices)
            np.testing.assert_allclose(reading.logprobs, top.values, atol=ROUNDING)


def test_hidden_states_with_the_local_head_are_the_network(served: Served) -> None:
    gives = {"kind": "hidden_states", "head": f"file:{served.folder}"}
    view = opened(served, gives, {"kind": "server"})
    assert view.head is not None
    for reading, row in zip(view.read(ROWS, 1000), ROWS, strict=True):
        assert isinstance(reading, HiddenReading)
        log_TV = view.head.logits(reading.hidden, served.model.vocabulary).log_softmax(-1)
        np.testing.assert_allclose(log_TV, own_logprobs(served.model, row), atol=ROUNDING)
