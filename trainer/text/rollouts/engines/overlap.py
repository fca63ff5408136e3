"""Sampling the next round during training, with weights that are one update old.

    round n: wait for its answers → send weights n to the sampler
             → start sampling round n + 1 → train

The weights in training change under a sampler in the same process, so it samples with a copy of the
network. A resumed run samples its first round again with the checkpoint's weights: overlap gives up
bit-exact resuming.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch

from trainer.spec.sampling import Sampling
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import InProcessEngine
from trainer.text.rollouts.protocols import Engine
from trainer.text.rollouts.records import Progress, SampleRequest, Trajectory


class CopiedWeightsEngine(InProcessEngine):
    """Samples with a copy of the student's network, which `update` refreshes."""

    def __init__(self, student: LanguageModel, rows: Callable[[], int]) -> None:
        super().__init__(replace(student, model=copy.deepcopy(student.model)), rows)
        self.student = student

    @torch.no_grad()
    def update(self, version: int) -> None:
        super().update(version)
        self.language_model.model.load_state_dict(self.student.model.state_dict())


class SamplingCancelled(Exception):
    """The run ends, and the answers being sampled are not needed."""


SamplingCall = tuple[tuple[SampleRequest, ...], Sampling, Noise]


@dataclass
class OverlapEngine:
    """An engine over `inner` that can start the next call in the background."""

    inner: Engine
    # One thread: the network samples one round at a time.
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _pending: tuple[SamplingCall, Future[list[Trajectory]]] | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Wait until the pending answers are finished."""
        if self._pending is not None:
            # An error is left to `write`, whose caller needs the answers.
            self._pending[1].exception()

    def update(self, version: int) -> None:
        """Update the weights after the pending answers are finished with the old ones."""
        self.wait()
        self.inner.update(version)

    def begin(self, requests: Sequence[SampleRequest], sampling: Sampling, noise: Noise) -> None:
        """Start what the next `write` will request, with the weights of the last `update`."""
        call = tuple(requests), sampling, noise
        self._pending = (
            call,
            self._thread.submit(
                self.inner.write, requests, sampling, noise, self._raise_if_cancelled
            ),
        )

    def write(
        self,
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        noise: Noise,
        progress: Progress | None = None,
    ) -> list[Trajectory]:
        """Return the pending answers if the arguments are equal; otherwise sample now."""
        pending, self._pending = self._pending, None
        # The arguments differ if the pool was measured in between: other problems are drawn then.
        if pending is not None and pending[0] == (tuple(requests), sampling, noise):
            return pending[1].result()
        return self.inner.write(requests, sampling, noise, progress)

    def close(self) -> None:
        """Cancel sampling at the next finished answer."""
        # Set before `shutdown`, which waits for the thread and thus for the whole round otherwise.
        self._cancelled.set()
        self._thread.shutdown()

    def _raise_if_cancelled(self, done: int, of: int) -> None:
        if self._cancelled.is_set():
            raise SamplingCancelled
