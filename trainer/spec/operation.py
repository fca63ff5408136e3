"""The operation of a run: compute, evaluation, checkpoints and recorded rollouts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trainer.spec.base import Section, option
from trainer.spec.controllers.controller import Ability
from trainer.spec.sampling import Sampling


class InProcessSampler(Section):
    """The trainer samples the answers itself."""

    kind: Literal["in_process"] = "in_process"


class VllmSampler(Section):
    """A vLLM server of the run samples the student's answers with the weights of each step.

    The trainer itself samples for pass rates and evaluations. `abilities` are what controllers of
    answers in progress can ask of it.
    """

    abilities: ClassVar[frozenset[Ability]] = frozenset(
        ("step", "abort", "forced", "fork", "score", "top")
    )

    kind: Literal["vllm"] = "vllm"
    memory: float = option(
        1.0,
        title="KV cache",
        help="Memory for keys and values, on each GPU of the server.",
        unit="GiB",
        gt=0,
        le=4096,
        expert=True,
    )
    devices: tuple[Annotated[int, Field(ge=0)], ...] = option(
        (),
        title="GPUs",
        help="Numbers of the server's GPUs among those that the run sees. Empty: the trainer's own "
        "and, with tensor parallelism, those after it.",
        max_length=64,
        expert=True,
    )
    tensor_parallel: int = option(
        1,
        title="Tensor parallelism",
        help="GPUs over which the server splits the model.",
        ge=1,
        le=64,
        expert=True,
    )
    gpu_share: float | None = option(
        None,
        title="Share of GPU memory",
        help="Share of each GPU's memory that the server asks for. Empty: what the model and the "
        "KV cache need, which leaves the rest to the trainer.",
        gt=0,
        le=1,
        expert=True,
    )
    seconds: float = option(
        600.0,
        title="Time limit",
        help="Time limit for the server to start or to answer.",
        unit="s",
        gt=0,
        le=86_400,
        expert=True,
    )
    # Old weights in the LM head alone move log-probs by about 1 nat (measured with vLLM for CPU).
    tolerance: float = option(
        0.05,
        title="Log-prob tolerance",
        help="Largest mean difference between log-probs of vLLM and of the trainer on a fixed "
        "text, beyond the difference at the start; "
        "if that was much smaller, less is allowed.",
        unit="nats",
        gt=0,
        le=10,
        expert=True,
    )


class Compute(Section):
    """Devices, memory and processes."""

    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", title="Device", help="auto: a GPU if there is one."
    )
    # Measured with small models: two threads are up to eight times slower than one.
    threads: int = option(
        1,
        title="CPU threads",
        help="Threads of each process. Small models are fastest with 1.",
        ge=1,
        le=256,
    )
    # `Runtime` halves this when memory runs out, down to the lower bound.
    micro_batch_tokens: int = option(
        8192,
        title="Micro-batch size",
        help="Tokens of one backward pass. A smaller size needs less memory; the gradient is the "
        "same.",
        unit="tokens",
        ge=16,
        expert=True,
    )
    generation_rows: int = option(
        256,
        title="Generation rows",
        help="Answers that are sampled in one batch.",
        ge=1,
        le=65_536,
        expert=True,
    )
    gradient_checkpointing: bool = option(
        False,
        title="Gradient checkpointing",
        help="Recompute activations in the backward pass: less memory, about a third more time.",
        expert=True,
    )
    processes: int = option(
        1,
        title="Processes",
        help="Trainer processes on each machine; with GPUs, one for each GPU.",
        ge=1,
        le=1024,
        expert=True,
    )
    nodes: int = option(
        1,
        title="Machines",
        help="Machines that train together, each with that many processes. They divide the work "
        "of every step.",
        ge=1,
        le=256,
        expert=True,
    )
    max_restarts: int | None = option(
        None,
        title="Restarts",
        help="Automatic restarts by the server after a process or a machine is lost. Empty: the "
        "operator's limit.",
        ge=0,
        le=1000,
        expert=True,
    )
    # fsdp needs less memory and sends weights in every micro-batch; ddp sends gradients once a
    # step.
    parallel: Literal["ddp", "fsdp"] = option(
        "ddp",
        title="Parallelism",
        help="With several processes: ddp holds the whole student in each, fsdp shards it.",
        expert=True,
    )
    overlap: bool = option(
        False,
        title="Overlap",
        help="Sample the next step's answers while a step trains. Their weights are one step old, "
        "which importance ratios correct.",
        expert=True,
    )
    sampler: Annotated[InProcessSampler | VllmSampler, Field(discriminator="kind")] = option(
        title="Sampler",
        help="Engine that samples the student's answers.",
        factory=InProcessSampler,
        expert=True,
    )

    @property
    def ranks(self) -> int:
        """The number of processes on all machines."""
        return self.processes * self.nodes


class Evaluation(Section):
    """Evaluations on held-out problems."""

    every: int = option(
        50,
        title="Evaluation interval",
        help="0: only before and after the run.",
        unit="steps",
        ge=0,
    )
    samples: int = option(
        1,
        title="Answers per problem during the run",
        help="Answers to each held-out problem in an evaluation during the run.",
        ge=1,
        le=1024,
    )
    problems: int | None = option(
        None,
        title="Problem limit during the run",
        help="Held-out problems of an evaluation during the run; the first and last evaluation "
        "use all. Empty: all.",
        unit="problems",
        ge=1,
    )
    final_samples: int = option(
        4,
        title="Answers per problem before and after",
        help="Answers to each held-out problem in the first and last evaluation.",
        ge=1,
        le=1024,
    )
    pass_at: tuple[Annotated[int, Field(ge=1)], ...] = option(
        (1, 4),
        title="pass@k",
        help="Values of k for the first and last evaluation; k must not exceed the answers per "
        "problem.",
        expert=True,
    )
    sampling: Sampling = option(
        title="Sampling",
        help="Sampling of the answers to held-out problems.",
        factory=Sampling,
        subheading=True,
    )
    # The average is only evaluated, so it can be on without changing the training.
    ema_decay: float = option(
        0.0,
        title="Weight averaging",
        help="Decay of the moving average of the weights that is evaluated; 0: evaluate the "
        "weights themselves.",
        ge=0,
        lt=1,
        expert=True,
    )


class Checkpoints(Section):
    """Checkpoints to resume from."""

    every: int = option(
        50, title="Checkpoint interval", help="0: only at the end of the run.", unit="steps", ge=0
    )
    # Two, so that a damaged newest checkpoint leaves one to resume from.
    keep_last: int = option(
        2, title="Recent checkpoints kept", help="Older checkpoints are deleted.", ge=1, le=1000
    )
    keep_best: bool = option(
        True, title="Best checkpoint kept", help="Keep the one with the highest held-out pass rate."
    )


class Record(Section):
    """Rollouts that are recorded token by token, to be read on the run's page."""

    every: int = option(
        5,
        title="Recording interval",
        help="0: none during training.",
        unit="steps",
        ge=0,
        expert=True,
    )
    rollouts: int = option(
        16,
        title="Rollouts per recorded step",
        help="Largest number of rollouts that are recorded of a step.",
        ge=1,
        le=4096,
        expert=True,
    )
