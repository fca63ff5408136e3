"""Refused combinations of networks, with each other or with the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.spec.data import FileProblems
from trainer.spec.networks import (
    LowRankAdapter,
    ModelTeacher,
    PrivilegedContext,
    SelfTeacher,
    TextTeacher,
)
from trainer.spec.operation import VllmSampler
from trainer.spec.rules.served import served_network_refusals

if TYPE_CHECKING:
    from trainer.spec.run import RunSpec

# Path of a field and the sentence that follows it.
Refusal = tuple[str, str]
# A demonstration falls back to the solution where no answer of the student is right.
COLUMNS = {"solution": "solution", "demonstration": "solution"}


def network_refusals(spec: RunSpec) -> Iterator[Refusal]:
    yield from _equal_networks(spec)
    yield from _self_teacher(spec)
    yield from _privileged(spec)
    yield from _specialists(spec)
    yield from _vllm(spec)
    yield from _processes(spec)
    yield from served_network_refusals(spec)


def _vllm(spec: RunSpec) -> Iterator[Refusal]:
    sampler = spec.compute.sampler
    if not isinstance(sampler, VllmSampler):
        return
    if sampler.devices and len(sampler.devices) != sampler.tensor_parallel:
        yield (
            "compute.sampler.devices",
            f"names {len(sampler.devices)} GPUs, but tensor_parallel is {sampler.tensor_parallel}; "
            "name one for each part of the model",
        )
    if len(set(sampler.devices)) != len(sampler.devices):
        yield "compute.sampler.devices", "names a GPU twice; name each once"
    if spec.compute.device == "cpu" and (sampler.devices or sampler.tensor_parallel > 1):
        yield (
            "compute.sampler.devices" if sampler.devices else "compute.sampler.tensor_parallel",
            "needs GPUs, but compute.device is cpu; choose auto or cuda",
        )


def _equal_networks(spec: RunSpec) -> Iterator[Refusal]:
    student, teacher = spec.networks.student, spec.networks.teacher
    if not isinstance(teacher, ModelTeacher) or isinstance(teacher.context, PrivilegedContext):
        return
    # Compared by name: two names of one model are not found, which costs a useless run at worst.
    if student.model == teacher.model and student.random_init == teacher.random_init:
        yield (
            "networks.student.model",
            "is the teacher too: equal networks never differ, so there is nothing to learn; "
            "choose another",
        )


def _self_teacher(spec: RunSpec) -> Iterator[Refusal]:
    teacher = spec.networks.teacher
    if not isinstance(teacher, SelfTeacher):
        return
    if not isinstance(teacher.context, PrivilegedContext):
        yield (
            "networks.teacher.context.kind",
            "is plain, but a student that teaches itself must be shown more than it is asked; "
            "choose privileged",
        )
    if teacher.weights == "adapter_off" and not isinstance(
        spec.networks.student.adapter, LowRankAdapter
    ):
        yield (
            "networks.teacher.weights",
            "is adapter_off, but the student has none; choose initial, or a lora adapter for it",
        )


def _privileged(spec: RunSpec) -> Iterator[Refusal]:
    teacher, train = spec.networks.teacher, spec.data.train
    if isinstance(teacher, TextTeacher) or not isinstance(teacher.context, PrivilegedContext):
        return
    shows = teacher.context.shows
    if shows in COLUMNS and isinstance(train, FileProblems) and train.columns.solution is None:
        yield (
            "networks.teacher.context.shows",
            f"is {shows}, but the training data names no solution column; set "
            f"data.train.columns.solution or show the answer",
        )
    other_stages = [stage.name for stage in spec.stages if stage.source != "student_rollouts"]
    if shows in ("demonstration", "feedback") and other_stages:
        yield (
            "networks.teacher.context.shows",
            f"is {shows}, which comes from the student's own answers, but stage {other_stages[0]} "
            f"has "
            f"none; show the solution instead",
        )


def _specialists(spec: RunSpec) -> Iterator[Refusal]:
    train = spec.data.train
    if (
        spec.networks.specialists
        and isinstance(train, FileProblems)
        and train.columns.domain is None
    ):
        yield (
            "networks.specialists",
            "need a domain for each problem; set data.train.columns.domain",
        )


def _processes(spec: RunSpec) -> Iterator[Refusal]:
    compute = spec.compute
    if compute.parallel == "fsdp" and compute.ranks == 1:
        yield (
            "compute.parallel",
            "is fsdp, which shares the student among processes, but there is one; raise processes "
            "or nodes, or choose ddp",
        )
    if compute.ranks == 1:
        return
    several, fewer = (
        ("there are several", "processes")
        if compute.nodes == 1
        else ("several machines have more", "nodes and processes")
    )
    if isinstance(compute.sampler, VllmSampler):
        yield (
            "compute.sampler.kind",
            f"is vllm, which answers one process, but {several}; set {fewer} to 1 or choose "
            f"in_process",
        )
    if compute.overlap:
        yield (
            "compute.overlap",
            f"is on, but only one process can sample while it trains, and {several}; set {fewer} "
            f"to 1 or turn it off",
        )
    if spec.pool.measure_snr:
        yield (
            "pool.measure_snr",
            f"is on, but one process alone can measure single gradients, and {several}; set "
            f"compute's {fewer} to 1 or turn it off",
        )
