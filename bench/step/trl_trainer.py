"""TRL's DistillationTrainer on a job: `python -m bench.step.trl_trainer JOB`; prints JSON.

Runs in the peers' environment (`make bench-peers`). TRL's defaults are bfloat16 autocast and
gradient checkpointing, on a CPU too; checkpointing, logging, saving and progress bars are off here.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.step.job import Clock, Job


def main() -> None:
    job = Job.read(Path(sys.argv[1]))
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        clock = train(job, folder)
    json.dump(clock.report(), sys.stdout)


def train(job: Job, folder: str) -> Clock:
    import torch

    torch.set_num_threads(job.threads)
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import DistillationConfig, DistillationTrainer

    clock = Clock()

    class Ticking(DistillationTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            self.batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
            return self.batch

    class Tick(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick(int(trainer.batch["completion_mask"].sum()))

    settings = DistillationConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=job.bfloat16,
        gradient_checkpointing=False,
        per_device_train_batch_size=len(job.questions),
        max_steps=job.steps,
        learning_rate=0.0,
        lr_scheduler_type="constant",
        max_completion_length=job.longest,
        beta=1.0,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=0,
    )
    trainer = Ticking(
        model=AutoModelForCausalLM.from_pretrained(job.student, dtype=torch.float32),
        teacher_model=AutoModelForCausalLM.from_pretrained(job.teacher, dtype=torch.float32),
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": list(job.questions)}),
        processing_class=PreTrainedTokenizerFast.from_pretrained(job.student, padding_side="left"),
        callbacks=[Tick()],
    )
    trainer.train()
    return clock


if __name__ == "__main__":
    main()
