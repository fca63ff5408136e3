"""The record of what a run ran on."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import torch

from trainer.engine.environment import facts


def test_it_names_python_the_device_and_every_package() -> None:
    found = facts(torch.device("cpu"))
    assert found["python"] == platform.python_version()
    assert found["device"] == "cpu"
    assert found["packages"]["torch"] == version("torch")
    assert list(found["packages"]) == sorted(found["packages"])
    json.dumps(found)
