"""In the manner of Trackio's examples: a sweep of runs in a group, a project of images and tables,
and a configuration that grows.
"""

import random

import numpy as np
import trackio

random.seed(0)
for index in range(3):
    trackio.init(
        project="sweep",
        name=f"lr {index}",
        group="learning rates",
        config={"lr": 10.0**-index, "epochs": 4},
        auto_log_cpu=False,
    )
    for epoch in range(4):
        loss = 1 / (epoch + 1) + random.random() / 100
        trackio.log({"train": {"loss": loss, "accuracy": 1 - loss}, "val/loss": loss * 1.1})
    trackio.finish()

run = trackio.init(project="pictures", name="samples", config={"size": 8}, auto_log_cpu=False)
run.config["seed"] = 1
for step in (0, 10, 20):
    picture = trackio.Image(np.full((8, 8, 3), step, np.uint8), caption=f"at {step}")
    answers = trackio.Table(
        columns=["question", "answer", "drawn"], data=[["1 + 1?", step, picture]]
    )
    trackio.log({"picture": picture, "answers": answers, "loss": 1.0 - step / 100}, step=step)
# Later, and for a step in between.
trackio.log({"extra": 3.0}, step=5)
trackio.finish()
