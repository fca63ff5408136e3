"""The record of what a run ran on."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import torch

from trainer.engine.environment import facts


def test_the_environment_has_python_device_and_every_package() -> None:
    fields = facts(torch.device("cpu"))
    assert fields["python"] == platform.python_version()
    assert fields["device"] == "cpu"
    assert fields["packages"]["torch"] == version("torch")
    assert list(fields["packages"]) == sorted(fields["packages"])
    json.dumps(fields)
