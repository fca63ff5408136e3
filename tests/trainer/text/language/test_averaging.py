"""The moving average of weights, in every number format that weights have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.text.language.averaging import Average


def parameter(dtype: torch.dtype, value: float = 1.0) -> dict[str, Parameter]:
    return {"weight": Parameter(torch.full((3,), value, dtype=dtype), requires_grad=False)}


def test_small_updates_move_the_average_of_bfloat16_weights() -> None:
    parameters = parameter(torch.bfloat16)
    average = Average(parameters, 0.999)
    in_bfloat16 = parameters["weight"].clone()
    for _ in range(1000):
        parameters["weight"].fill_(1.125)
        average.update()
        in_bfloat16.lerp_(parameters["weight"], 0.001)

    expected = torch.full((3,), 1.125 - 0.125 * 0.999**1000)
    torch.testing.assert_close(average.tensors()["weight"], expected)
    assert in_bfloat16.tolist() == [1.0] * 3
    with average.in_place():
        assert torch.equal(parameters["weight"], expected.to(torch.bfloat16))
    assert parameters["weight"].tolist() == [1.125] * 3
    # The cast to bfloat16 did not round the stored average.
    torch.testing.assert_close(average.tensors()["weight"], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_average_of_wide_weights_is_computed_in_their_own_format(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(5)
    parameters = {"weight": Parameter(torch.randn(100, generator=generator, dtype=dtype))}
    average = Average(parameters, 0.99)
    mean: Tensor = parameters["weight"].detach().clone()
    for _ in range(20):
        parameters["weight"].data = torch.randn(100, generator=generator, dtype=dtype)
        average.update()
        mean.lerp_(parameters["weight"].detach(), 1.0 - 0.99)
        weights = parameters["weight"].detach().clone()
        with average.in_place():
            assert torch.equal(parameters["weight"], mean)
        assert torch.equal(parameters["weight"], weights)

    assert average.tensors()["weight"].dtype == dtype
    assert torch.equal(average.tensors()["weight"], mean)


def test_a_checkpoint_with_an_average_in_bfloat16_loads() -> None:
    average = Average(parameter(torch.bfloat16), 0.9)
    average.load({"weight": torch.full((3,), 0.5, dtype=torch.bfloat16)})

    assert torch.equal(average.tensors()["weight"], torch.full((3,), 0.5))


def test_nothing_is_stored_without_decay() -> None:
    parameters = parameter(torch.float32)
    average = Average(parameters, 0.0)
    with average.in_place():
        assert parameters["weight"].tolist() == [1.0] * 3

    assert average.tensors() == {}
