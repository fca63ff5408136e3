"""Declarations of the events about the course of a run: its state, data, checkpoints and end."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trainer.events.values import (
    Amount,
    Count,
    EventHead,
    MeasuredLarge,
    Recorded,
    SideFile,
    StepEvent,
    Whole,
    recorded,
)

Folder = Annotated[str, Field(max_length=255)]


class EnvironmentEvent(EventHead):
    """The machine and programs of the attempt. One of its first events."""

    type: Literal["environment"]
    python: Annotated[Any, Recorded(str)] = recorded("version of Python")
    platform: Annotated[Any, Recorded(str)] = recorded("operating system and architecture")
    device: Annotated[Any, Recorded(str)] = recorded('name of the GPU, or "cpu"')
    commit: Annotated[Any, Recorded(str | None)] = recorded(
        "commit of this program; null without a git clone"
    )
    packages: Annotated[Any, Recorded(dict[str, str])] = recorded(
        "version of each installed package, by name"
    )


class ProblemSetEvent(EventHead):
    """A set of problems as it was loaded."""

    type: Literal["problem_set"]
    role: str = Field(description="train, evaluation or retained")
    fingerprint: str = Field(description="hash of the problems")
    count: Count = Field(description="problems")
    set_aside: Count = Field(description="problems that are not used")
    file: SideFile | None = Field(default=None, description="the problems as a table")


class MetricsEvent(StepEvent):
    """Numbers of a step, each one point of a series."""

    type: Literal["metrics"]
    stage: Annotated[Any, Recorded(str)] = recorded("name of the stage")
    tokens: Count = Field(
        default=0,
        description="tokens of the answers that training steps have used so far, each once",
    )
    compute: Amount = Field(default=0.0, description="floating-point operations of the run so far")
    values: dict[str, float] = Field(description="numbers by the keys that are listed below")


class CheckpointEvent(StepEvent):
    """A checkpoint is complete on disk."""

    type: Literal["checkpoint"]
    stage: str = Field(default="", description="name of the stage")
    folder: Folder = Field(description="its folder, relative to the attempt's")
    bytes: Annotated[Any, Recorded(int)] = recorded("size on disk, bytes")
    best: bool = Field(default=False, description="whether it has the best pass rate so far")
    metrics: dict[str, MeasuredLarge] = Field(
        default_factory=dict, description="the last value of each metric"
    )


class CheckpointRemovedEvent(StepEvent):
    """A checkpoint was deleted to save space. `step` is that of the checkpoint."""

    type: Literal["checkpoint_removed"]
    folder: Folder = Field(description="its folder, relative to the attempt's")


class ProgressEvent(EventHead):
    """What the run does now; at most twice a second."""

    type: Literal["progress"]
    step: Whole | None = Field(default=None, description="steps done")
    total_steps: Count | None = Field(default=None, description="steps of the whole run")
    stage: str = Field(default="", description="name of the stage")
    phase: str = Field(
        description="loading, pass_rates, teacher_responses, teacher_scores, own_answers, "
        "references, training, evaluation or checkpoint"
    )
    done: Count | None = Field(default=None, description="parts of the phase that are done")
    of: Count | None = Field(default=None, description="parts of the phase")


class LogEvent(EventHead):
    """A sentence for the reader of the run."""

    type: Literal["log"]
    level: str = Field(description="info, warning or error")
    message: str = Field(description="the sentence")


class RewindEvent(StepEvent):
    """The run continues from a checkpoint: later events of earlier attempts are abandoned.

    `step` is that of the checkpoint, −1 if the run starts from step 0.
    """

    type: Literal["rewind"]


class EndEvent(EventHead):
    """The attempt has ended."""

    type: Literal["end"]
    outcome: Literal["completed", "stopped", "failed"] = Field(description="how it ended")
    reason: str = Field(default="", description="why, as a sentence")
    remedy: str = Field(default="", description="what to do, as a sentence")
