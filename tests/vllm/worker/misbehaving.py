"""A worker that takes weights as the file `manner` beside them says, and always says that it took
them. Runs in vLLM's environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.text.rollouts.engines.vllm.worker.stillroom_worker import WeightLoader, hashed


class Misbehaving(WeightLoader):
    def stillroom_load(self, path: str, version: str) -> dict[str, Any]:
        manner = (Path(path).parent / "manner").read_text()
        if manner == "well":
            return super().stillroom_load(path, version)
        sums: dict[str, str] = {}
        if manner == "not at all":
            list(hashed(path, sums))
        if manner == "without tying the head again":
            self.model_runner.reload_weights(weights_iterator=hashed(path, sums))
        if manner == "another file":
            self.model_runner.reload_weights(weights_iterator=hashed(f"{path}.other", sums))
        self.stillroom_taken = {"version": int(version), "checksums": sums}
        return self.stillroom_taken
