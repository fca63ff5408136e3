"""Gradient signal-to-noise ratio by pass rate: an optional measurement of PACED's claim.

For the n problems of a bin with gradients g_i of their unweighted losses, ḡ = mean of g_i and

    SNR = max(0, |ḡ|² − tr Σ̂ / n) / tr Σ̂,    tr Σ̂ = Σ |g_i − ḡ|² / (n − 1).

Without the correction tr Σ̂ / n even pure noise would show 1/n. The answers are not those that
estimate the pass rate: otherwise a lucky answer would both move its problem to another bin and
shape its gradient. All bins have the same n. The interval is 90 %, by resampling problems; every
quantity follows from the Gram matrix G = g_i · g_j, so resampling costs little. The ratio is also
given for each half of the problems: a peak that is chosen on one half is too high there by choice,
and is measured without that bias on the other.

Gradients of large networks are reduced to a count sketch (each coordinate added to a random bucket
with a random sign), which keeps inner products in expectation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.engine.loop import Runtime
from trainer.engine.outcome import Failure
from trainer.spec import RunSpec
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.filters.verifier import plain_row
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DIVERGENCE, Group, Prompt
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_sampled, count_trained
from trainer.text.training.micro_batch_loss import MicroBatch, MicroBatchLoss
from trainer.text.training.problem_pool import ProblemPool
from trainer.text.training.teacher_states import compute_teacher_states

EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Problems per bin at most, and the least number for which a bin is measured.
PER_BIN = 96
LEAST_PROBLEMS = 4
RESAMPLES = 500
# Gradients with more entries are sketched to SKETCH entries.
SKETCH_ABOVE = 1 << 20
SKETCH = 4096


@dataclass(frozen=True)
class SnrBin:
    """Pass rates in [low, high].

    `snr` is numerator / denominator of the equation above, `interval` its 90 % interval;
    `first_half` and `second_half` are the ratio of the first and the last ⌊n/2⌋ problems.
    """

    low: float
    high: float
    n: int
    snr: float
    interval: tuple[float, float]
    numerator: float
    denominator: float
    first_half: float
    second_half: float


def measure(components: RunComponents, spec: RunSpec, pool: ProblemPool, rt: Runtime) -> None:
    """Measure on the first stage's objective and emit an `snr` event; no weight changes."""
    members = _bins(pool, spec.seed)
    if len(members) < 2:
        rt.log.log(
            "warning",
            f"Gradient SNR was not measured: fewer than two pass-rate bins hold {LEAST_PROBLEMS} "
            "problems.",
        )
        return
    bins = []
    for done, ((low, high), indices) in enumerate(members):
        answers = _answers(components, spec, indices, rt)
        gradients = np.stack([_gradient(components, spec, answer) for answer in answers])
        count_trained(rt, components.student, answers)
        bins.append(summarise_bin(low, high, gradients @ gradients.T))
        rt.progress("pass_rates", done + 1, len(members))
    rt.emit("snr", bins=[asdict(bin) for bin in bins])


def summarise_bin(low: float, high: float, gram: NDArray[np.float64]) -> SnrBin:
    """Summarise one bin from the inner products of its gradients [n, n], in any order."""
    n = len(gram)
    half = n // 2
    rng = np.random.Generator(np.random.PCG64(0))
    resampled = [
        _snr(*ratio(gram, counts)) for counts in rng.multinomial(n, np.full(n, 1 / n), RESAMPLES)
    ]
    below, above = np.quantile(resampled, [0.05, 0.95])
    numerator, denominator = ratio(gram, np.ones(n))
    return SnrBin(
        low,
        high,
        n,
        _snr(numerator, denominator),
        (float(below), float(above)),
        numerator,
        denominator,
        _snr(*ratio(gram[:half, :half], np.ones(half))),
        _snr(*ratio(gram[-half:, -half:], np.ones(half))),
    )


def ratio(gram: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """|ḡ|² − tr Σ̂ / n and tr Σ̂ from inner products [n, n]; gradient i counts `counts[i]` times.

    The first is the mean of g_i · g_j over pairs of different problems, so that a problem repeated
    by a resample does not count as two independent ones.
    """
    pairs = np.outer(counts, counts)
    np.fill_diagonal(pairs, 0.0)
    shared = float((pairs * gram).sum() / pairs.sum()) if pairs.any() else 0.0
    return max(0.0, shared), float(counts @ np.diag(gram)) / float(counts.sum()) - shared


def _snr(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else 0.0


def _bins(pool: ProblemPool, seed: int) -> list[tuple[tuple[float, float], list[int]]]:
    """Bins p = 0, the open quarters between, and p = 1 with enough problems, all of equal size."""
    rates, rng = pool.rates, np.random.Generator(np.random.PCG64([seed, 1]))
    ends: list[tuple[float, float, Callable[[float], bool]]] = [
        (0.0, 0.0, lambda p: p == 0),
        *(
            # The defaults bind each pair; without them all functions would see the last one.
            (low, high, lambda p, a=low, b=high: a < p <= b and p < 1)
            for low, high in itertools.pairwise(EDGES)
        ),
        (1.0, 1.0, lambda p: p == 1),
    ]
    members = [
        ((low, high), [index for index in np.flatnonzero(pool.has_rate) if inside(rates[index])])
        for low, high, inside in ends
    ]
    filled = [(edges, indices) for edges, indices in members if len(indices) >= LEAST_PROBLEMS]
    n = min([PER_BIN, *(len(indices) for _, indices in filled)])
    return [(edges, rng.permutation(indices)[:n].tolist()) for edges, indices in filled]


def _answers(
    components: RunComponents, spec: RunSpec, indices: Sequence[int], rt: Runtime
) -> list[Answer]:
    questions = [components.train[index] for index in indices]
    noise = Noise(spec.seed, rt.step, "snr")
    answers = components.sampler.sample_answers(
        components.student, questions, [(0,)] * len(questions), spec.pool.sampling, noise
    )
    count_sampled(rt, components.student, answers)
    return answers


def _gradient(components: RunComponents, spec: RunSpec, answer: Answer) -> NDArray[np.float64]:
    """Flat gradient of the mean of the first stage's terms over one answer's tokens.

    It is sketched where the student is large.
    """
    parameters = [
        parameter for parameter in components.student.model.parameters() if parameter.requires_grad
    ]
    stage, question = spec.stages[0], components.questions[answer.problem.id]
    view = components.teachers.of(answer.problem)
    context = view.name, view.prompt(question)
    row = plain_row(0, Group(Prompt(question), (answer,)), answer, DIVERGENCE, lambda *_: context)
    even = torch.full((len(answer.ids),), 1.0 / len(answer.ids), device=components.student.device)
    states = compute_teacher_states(components.teachers, [row], spec.compute.micro_batch_tokens)
    if states.unread:
        raise Failure(
            f"The {view.name} has not scored an answer to problem {answer.problem.id} whose "
            f"gradient is measured: {states.unread[0]}.",
            "Resume the run once it does, or turn pool.measure_snr off.",
        )
    loss, _ = MicroBatchLoss(components.student)(
        MicroBatch([row], [0], even, states), stage.objective
    )
    gradients: tuple[Tensor, ...] = torch.autograd.grad(loss, parameters)
    flat = torch.cat([gradient.flatten() for gradient in gradients]).double().cpu()
    if len(flat) > SKETCH_ABOVE:
        # The same buckets and signs for every answer, or inner products would mean nothing.
        generator = torch.Generator().manual_seed(0)
        buckets = torch.randint(SKETCH, flat.shape, generator=generator)
        signs = torch.randint(2, flat.shape, generator=generator) * 2 - 1
        flat = torch.zeros(SKETCH, dtype=torch.float64).index_add_(0, buckets, flat * signs)
    return np.asarray(flat.numpy())
