"""A few steps in the shapes of Qwen2.5 0.5B (student) and 1.5B (teacher), within 20 GB on a CPU.

`python -m bench.real_shape [lora] [all]` writes two model folders (configuration and tokenizer; the
run initialises random weights), executes a run on them and reads time and memory from its event
log. Sizes are those of the published configurations. All 151,936 vocabulary entries are in use, so
softmax and head have their real width.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config

from bench import machine
from trainer.events import read
from trainer.spec import load, to_yaml
from trainer.text.builtin.tokenizer import EOS, PAD, UNKNOWN, VOCABULARY

WIDTH = 151_936
SHAPES = {
    "student": {
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "intermediate_size": 4864,
    },
    "teacher": {
        "hidden_size": 1536,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "intermediate_size": 8960,
    },
}
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    "lora": ("LoRA, rank 64", {"kind": "lora"}),
    "all": ("all weights", {"kind": "none"}),
}
STEPS, PROBLEMS, ANSWER = 3, 4, 16
MOST_GB = 20.0
RESULT = Path(__file__).parent / "results" / "real_shape.json"


def measure(variants: Sequence[str] = tuple(VARIANTS)) -> list[dict[str, Any]]:
    """One row per variant. Raises AssertionError if a run fails or needs more than MOST_GB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for role, shape in SHAPES.items():
            write_folder(folder / role, shape)
        rows = [run(folder, *VARIANTS[variant]) for variant in variants]
    assert max(row["peak memory, GB"] for row in rows) <= MOST_GB
    return rows


def write_folder(folder: Path, shape: Mapping[str, int]) -> None:
    """Write configuration and tokenizer; ids beyond the built-in vocabulary never occur in text."""
    settings: dict[str, Any] = {
        **shape,
        "num_key_value_heads": 2,
        "vocab_size": WIDTH,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": VOCABULARY.index(EOS),
        "pad_token_id": VOCABULARY.index(PAD),
    }
    Qwen2Config(**settings).save_pretrained(folder)
    tokens = [*VOCABULARY, *(f"<unused-{index}>" for index in range(WIDTH - len(VOCABULARY)))]
    core = Tokenizer(
        models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token=UNKNOWN)
    )
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=EOS, pad_token=PAD, unk_token=UNKNOWN
    ).save_pretrained(folder)


def definition(folder: Path, adapter: Mapping[str, Any]) -> str:
    sampling = {"max_new_tokens": ANSWER}
    arithmetic = {"kind": "arithmetic", "families": ["add"], "levels": [1]}
    network = {"random_init": True}
    return to_yaml(
        load(
            {
                "name": "real shape",
                "networks": {
                    "student": {
                        "model": f"file:{folder / 'student'}",
                        "adapter": adapter,
                        **network,
                    },
                    "teacher": {
                        "kind": "model",
                        "model": f"file:{folder / 'teacher'}",
                        "dtype": "bfloat16",
                        **network,
                    },
                },
                "data": {
                    "train": {**arithmetic, "count": 8, "seed": 1},
                    "evaluation": {**arithmetic, "count": 1, "seed": 2},
                },
                "pool": {
                    "estimate": "never",
                    "weighting": {"kind": "uniform"},
                    "track_problems": 0,
                    "sampling": sampling,
                },
                "stages": [
                    {
                        "name": "only",
                        "objective": {"kind": "forward_kl"},
                        "problems_per_step": PROBLEMS,
                        "until": {"steps": STEPS},
                        "rollouts": {"generate": {"per_problem": 1, "sampling": sampling}},
                    }
                ],
                "evaluation": {
                    "every": 0,
                    "final_samples": 1,
                    "pass_at": [1],
                    "sampling": sampling,
                },
                "checkpoints": {"every": 0},
                "record": {"every": 0},
                "compute": {
                    "gradient_checkpointing": True,
                    "micro_batch_tokens": 128,
                    "device": "cpu",
                },
            }
        )
    )


def run(folder: Path, variant: str, adapter: Mapping[str, Any]) -> dict[str, Any]:
    """Execute the run in a separate process, because memory is measured per process."""
    path, run_dir = folder / "definition.yaml", folder / variant
    path.write_text(definition(folder, adapter))
    code, peak_bytes = execute(
        [sys.executable, "-m", "trainer", "run", str(path), "--dir", str(run_dir)]
    )
    assert code == 0, f"the run ended with code {code}"
    values = [
        event["values"]
        for event in read(run_dir / "attempts" / "1" / "events")
        if event["type"] == "metrics"
    ]
    steps = [metrics for metrics in values if "loss" in metrics]
    assert len(steps) == STEPS
    return {
        "trained": variant,
        "steps": len(steps),
        "seconds per step": sorted(step["time/step_s"] for step in steps)[STEPS // 2],
        "of these sampling": sorted(step["time/collect_s"] for step in steps)[STEPS // 2],
        "first loss": steps[0]["loss"],
        "last loss": steps[-1]["loss"],
        "peak memory, GB": peak_bytes / 1e9,
    }


def execute(command: Sequence[str]) -> tuple[int, int]:
    """Run a command; return its exit code and the peak of its resident memory in bytes."""
    process = subprocess.Popen(command)
    # wait4, because RUSAGE_CHILDREN is the largest of all children up to this one.
    _, status, usage = os.wait4(process.pid, 0)
    # Tells `Popen` that nothing is left to wait for.
    process.returncode = os.waitstatus_to_exitcode(status)
    # Linux counts in KiB.
    return process.returncode, usage.ru_maxrss * 1024


def main() -> None:
    on = machine.description()
    rows = measure(sys.argv[1:] or tuple(VARIANTS))
    RESULT.write_text(
        json.dumps({"title": "A few steps at real shape", "machine": on, "rows": rows}, indent=2)
        + "\n"
    )
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
