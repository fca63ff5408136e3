"""What a person writes to log a run with Trackio."""

import math

import numpy as np
import trackio

trackio.init(
    project="sums", name="first", config={"lr": 0.01, "model": {"layers": 2}}, auto_log_cpu=False
)
for step in range(50):
    trackio.log({"loss": 1 / (step + 1), "nested": {"kl": step * 0.5}, "note": "not a number"})
trackio.log({"loss": math.nan, "gain": math.inf})
histogram, table = trackio.Histogram([1.0, 2.0]), trackio.Table(columns=["a"], data=[[1]])
trackio.log(
    {
        "shape": histogram,
        "rows": table,
        "picture": trackio.Image(np.zeros((4, 4, 3), np.uint8)),
        "on": True,
    },
    step=50,
)
trackio.log_system({"cpu": 0.5})
trackio.alert("It diverged", text="The loss is not a number.", level=trackio.AlertLevel.ERROR)
artifact = trackio.Artifact("weights", type="model")
artifact.add_file(__file__)
try:
    trackio.log_artifact(artifact)
except Exception as refusal:
    print("refused:", refusal)
trackio.finish()
