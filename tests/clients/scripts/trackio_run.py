"""What a person writes to log a run with Trackio."""

import math
from pathlib import Path

import numpy as np
import trackio

trackio.init(
    project="sums", name="first", config={"lr": 0.01, "model": {"layers": 2}}, auto_log_cpu=False
)
for step in range(50):
    trackio.log({"loss": 1 / (step + 1), "nested": {"kl": step * 0.5}, "note": "not a number"})
trackio.log({"loss": math.nan, "gain": math.inf})
picture = trackio.Image(np.zeros((4, 4, 3), np.uint8), caption="all black")
histogram = trackio.Histogram([1.0, 2.0])
table = trackio.Table(columns=["a", "drawn"], data=[[1, picture], [float("inf"), "none"]])
trackio.log(
    {
        "shape": histogram,
        "rows": table,
        "picture": picture,
        "report": trackio.Markdown("# Sums"),
        "on": True,
    },
    step=50,
)
Path("large.html").write_text("x" * (2**20 + 1))
trackio.log({"page": trackio.Html("large.html")}, step=50)
Path("notes.txt").write_text("of the project")
trackio.save("notes.txt")
trackio.log_system({"cpu": 0.5})
trackio.alert("It diverged", text="The loss is not a number.", level=trackio.AlertLevel.ERROR)
artifact = trackio.Artifact("weights", type="model")
artifact.add_file(__file__)
try:
    trackio.log_artifact(artifact)
except Exception as refusal:
    print("refused:", refusal)
trackio.finish()
