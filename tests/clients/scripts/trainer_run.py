"""transformers' Trainer on a tiny network, logging to each of the clients that are named:
`trainer_run.py trackio mlflow`. Then it trains again under the same name, logging to the first.
"""

import sys

import torch
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments


class Line(PreTrainedModel):
    config_class = PretrainedConfig

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        self.weight = torch.nn.Linear(1, 1)
        self.post_init()

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        prediction = self.weight(x)
        return {"loss": ((prediction - labels) ** 2).mean(), "logits": prediction}


data = [{"x": torch.tensor([float(i)]), "labels": torch.tensor([2.0 * i])} for i in range(8)]
for clients in (sys.argv[1:], sys.argv[1:2]):
    arguments = TrainingArguments(
        output_dir="out",
        run_name="line",
        project="sums",
        report_to=clients,
        logging_steps=1,
        max_steps=6,
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="steps",
        save_steps=6,
        trackio_static_space_id=False,
    )
    Trainer(model=Line(PretrainedConfig()), args=arguments, train_dataset=data).train()
