"""How a run is carried out: devices, evaluation, checkpoints and what of its rollouts is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.base import Section, option
from trainer.spec.sampling import Sampling


class InProcessSampler(Section):
    """Answers are sampled by the trainer itself."""

    kind: Literal["in_process"] = "in_process"


class VllmSampler(Section):
    """The answers that the student learns from are sampled by a vLLM server that the run owns and
    sends every step's weights to.

    Pass rates and evaluations are sampled by the trainer.
    """

    kind: Literal["vllm"] = "vllm"
    memory: float = option(
        1.0,
        title="Cache",
        help="Memory for keys and values.",
        unit="GiB",
        gt=0,
        le=4096,
        expert=True,
    )
    seconds: float = option(
        600.0,
        title="Time limit",
        help="For the server to start or to answer.",
        unit="s",
        gt=0,
        le=86_400,
        expert=True,
    )
    tolerance: float = option(
        0.05,
        title="Log-prob tolerance",
        help="How far vLLM's log-probs of a fixed text may be from the trainer's own, on average and beyond what they were at the start; "
        "where they agreed far better at the start, less is allowed.",
        unit="nats",
        gt=0,
        le=10,
        expert=True,
    )


class Compute(Section):
    """Devices and their use."""

    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", title="Device", help="auto takes a GPU if there is one."
    )
    threads: int = option(
        1, title="CPU threads", help="Small models are fastest with one.", ge=1, le=256
    )
    micro_batch_tokens: int = option(
        8192,
        title="Micro-batch",
        help="Tokens that are differentiated at once. Smaller needs less memory; the gradient stays the same.",
        unit="tokens",
        ge=16,
        expert=True,
    )
    generation_rows: int = option(
        256,
        title="Generation rows",
        help="Answers that are sampled side by side.",
        ge=1,
        le=65_536,
        expert=True,
    )
    gradient_checkpointing: bool = option(
        False,
        title="Gradient checkpointing",
        help="Compute activations again in the backward pass instead of keeping them: less memory, about a third more time.",
        expert=True,
    )
    processes: int = option(
        1,
        title="Processes",
        help="Trainer processes on each machine; on GPUs, one for each.",
        ge=1,
        le=1024,
        expert=True,
    )
    nodes: int = option(
        1,
        title="Machines",
        help="Machines that carry the run out together, each with as many processes. They divide the work of every step.",
        ge=1,
        le=256,
        expert=True,
    )
    max_restarts: int | None = option(
        None,
        title="Restarts",
        help="How often the server starts the run again by itself when a process or a machine of it was lost; empty: as often as the "
        "operator allows.",
        ge=0,
        le=1000,
        expert=True,
    )
    parallel: Literal["ddp", "fsdp"] = option(
        "ddp",
        title="Parallel",
        help="With several processes: ddp holds the whole student in each, fsdp a share of it.",
        expert=True,
    )
    overlap: bool = option(
        False,
        title="Overlap",
        help="Sample the next step's answers while this step trains. They come from weights that are one step old, and count by how likely "
        "the newer ones are to write them.",
        expert=True,
    )
    sampler: Annotated[InProcessSampler | VllmSampler, Field(discriminator="kind")] = option(
        title="Sampler",
        help="Who samples the student's answers.",
        factory=InProcessSampler,
        expert=True,
    )

    @property
    def ranks(self) -> int:
        """Processes on all machines together."""
        return self.processes * self.nodes


class Evaluation(Section):
    """What is measured on held-out problems."""

    every: int = option(
        50,
        title="Evaluate every",
        help="0 evaluates only before and after the run.",
        unit="steps",
        ge=0,
    )
    samples: int = option(
        1,
        title="Samples per problem",
        help="Answers to each held-out problem during the run.",
        ge=1,
        le=1024,
    )
    problems: int | None = option(
        None,
        title="At most during the run",
        help="Held-out problems of an evaluation during the run; the first and last evaluation use all.",
        unit="problems",
        ge=1,
    )
    final_samples: int = option(
        4,
        title="Samples before and after",
        help="Answers to each held-out problem in the first and last evaluation.",
        ge=1,
        le=1024,
    )
    pass_at: tuple[Annotated[int, Field(ge=1)], ...] = option(
        (1, 4),
        title="pass@k",
        help="Values of k for the first and last evaluation; each needs at least k samples.",
        expert=True,
    )
    sampling: Sampling = option(
        title="Sampling", help="How held-out problems are answered.", factory=Sampling
    )
    ema_decay: float = option(
        0.0,
        title="Weight averaging",
        help="Evaluate an exponential moving average of the weights; 0 turns it off.",
        ge=0,
        lt=1,
        expert=True,
    )


class Checkpoints(Section):
    """What is kept to resume from."""

    every: int = option(
        50, title="Checkpoint every", help="0 keeps only the last state.", unit="steps", ge=0
    )
    keep_last: int = option(2, title="Keep last", help="Older ones are removed.", ge=1, le=1000)
    keep_best: bool = option(
        True, title="Keep best", help="Keep the one with the highest held-out pass rate."
    )


class Record(Section):
    """Which rollouts are kept token by token, to be read on the run's page."""

    every: int = option(
        5,
        title="Keep rollouts every",
        help="0 keeps none during training.",
        unit="steps",
        ge=0,
        expert=True,
    )
    rollouts: int = option(
        16,
        title="Rollouts kept",
        help="At most that many of each recorded step; the share is shown.",
        ge=1,
        le=4096,
        expert=True,
    )
