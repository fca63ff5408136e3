"""A method on a network of two blocks and rows of different lengths, for one or several processes.

`python -m tests.trainer.scale.rows FOLDER STEPS PARALLEL DTYPE [CHECKPOINT]` trains in two
processes. Each rank writes to FOLDER/<rank>: an event log, and the leading rank's checkpoints.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.engine import checkpoints
from trainer.engine.checkpoints import Snapshot
from trainer.engine.distributed.ranks import ProcessRank
from trainer.engine.distributed.world import World
from trainer.engine.loop import EvaluationReport, MethodState, Phase, Runtime, train
from trainer.events import EventLog
from trainer.spec import Optimiser
from trainer.spec.operation import Checkpoints, Compute
from trainer.text.language.averaging import Average

LOOK, LEARN = Phase("look"), Phase("learn", "net")
ALONE = ProcessRank()
COUNTS = (
    5,
    1,
    6,
    2,
)  # rows of each step in turn: two ranks get different numbers of them, sometimes none
WIDTH, KINDS = 8, 11
JOIN_SECONDS = 120


class Net(nn.Module):
    """ids [T] → logits [T, KINDS]; the head is the embedding, and one parameter is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(KINDS, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(2)
        )
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, ids_T: Tensor) -> Tensor:
        hidden_TH = self.embed(ids_T)
        for block in self.blocks:
            hidden_TH = hidden_TH + block(hidden_TH)
        return hidden_TH @ self.embed.weight.T


class Rows:
    """A method whose row weights are the losses at the start of the step of all ranks."""

    phases: tuple[Phase, ...] = (LOOK, LEARN)

    def __init__(self, total_steps: int, dtype: str) -> None:
        self.total_steps, self.dtype = total_steps, dtype
        self.sampled = 0

    def setup(self, rt: Runtime) -> None:
        torch.manual_seed(3)
        self.net = Net().to(getattr(torch, self.dtype))
        self.group = rt.network("net", self.net, list(self.net.blocks))
        self.average = Average(self.group.parameters, 0.5, rt.refresh)

    def batch(self, rt: Runtime) -> list[Tensor]:
        self.group.configure(Optimiser(learning_rate=0.05, weight_decay=0.1), 0.05)
        generator = torch.Generator().manual_seed(rt.step)
        lengths = torch.randint(1, 9, (COUNTS[rt.step % 4],), generator=generator)
        return [torch.randint(0, KINDS, (int(length),), generator=generator) for length in lengths]

    def run(self, phase: Phase, batch: Sequence[Tensor], rt: Runtime) -> Mapping[str, float]:
        if phase is LOOK:
            self.weights = self._losses(batch, rt)
            return {"look": sum(self.weights)}
        rt.normalise("net", len(batch))
        own_rows = rt.world.divide(list(zip(batch, self.weights, strict=True)))
        for index in range(rt.micro_batches_to_run(len(own_rows), "net")):
            row, weight = own_rows[index] if index < len(own_rows) else (batch[0], 0.0)
            rt.backward(rt.forward(partial(weighted, self.net, row, weight), "net"), "net")
        return {}

    def _losses(self, rows: Sequence[Tensor], rt: Runtime) -> list[float]:
        own_rows = rt.world.divide(rows)
        self.sampled += len(own_rows)
        with torch.no_grad():
            return rt.world.gather([float(cross_entropy(self.net, row)) for row in own_rows])

    def after_update(self, rt: Runtime) -> None:
        self.average.update()

    def after_step(self, rt: Runtime) -> None:
        pass

    def evaluate(self, rt: Runtime, when: str) -> EvaluationReport:
        rows = [torch.arange(length) % KINDS for length in range(1, 4)]
        live = self._losses(rows, rt)
        with self.average.in_place():
            averaged = self._losses(rows, rt)
        assert self._losses(rows, rt) == live
        return EvaluationReport({"live": sum(live), "averaged": sum(averaged)}, -sum(averaged))

    def state(self) -> MethodState:
        return MethodState({"ema": self.average.tensors()})

    def load(self, snapshot: Snapshot) -> None:
        self.average.load(snapshot.tensors["ema"])

    def close(self) -> None:
        pass


def cross_entropy(net: nn.Module, row: Tensor) -> Tensor:
    return nn.functional.cross_entropy(net(row), row.flip(0), reduction="sum")


def weighted(net: nn.Module, row: Tensor, weight: float) -> Tensor:
    return weight * cross_entropy(net, row)


def carry_out(
    folder: Path,
    steps: int,
    parallel: str,
    dtype: str,
    checkpoint: Path | None = None,
    rank: ProcessRank = ALONE,
) -> Rows:
    """Train for some steps as that rank."""
    torch.set_num_threads(1)
    rank_folder = folder / str(rank.rank)
    world = World(rank)
    settings = Compute.model_validate({"parallel": parallel})
    log = EventLog(rank_folder / "events", 1)
    rt = Runtime(
        rank_folder, log, torch.device("cpu"), Checkpoints(every=3, keep_last=9), 2, world, settings
    )
    method = Rows(steps, dtype)
    train(method, rt, checkpoints.load(checkpoint) if checkpoint else None)
    world.close()
    log.close()
    return method


def main(
    folder: str, steps: str, parallel: str, dtype: str, checkpoint: str | None = None
) -> list[int | None]:
    """Train as two ranks and return their exit codes.

    The ranks are forked, because importing torch takes longer than what they compute.
    """
    fork = multiprocessing.get_context("fork")
    start = Path(checkpoint) if checkpoint else None
    settings = (Path(folder), int(steps), parallel, dtype, start)
    ranks = [
        fork.Process(target=carry_out, args=(*settings, ProcessRank(rank, 2, rank, Path(folder))))
        for rank in range(2)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(JOIN_SECONDS)
        rank.kill()
    return [rank.exitcode for rank in ranks]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) != [0, 0])
