"""A run whose process is killed, and which goes on: `killed.py trackio|mlflow [ID] STEP` logs from
STEP on, five times if it goes on.
"""

import sys
import time

client, *id, start = sys.argv[1:]
steps = range(int(start), int(start) + (5 if id else 100_000))
if client == "trackio":
    import trackio

    trackio.init(project="sums", name="long", resume="must" if id else "never", auto_log_cpu=False)
    for step in steps:
        trackio.log({"loss": step + 0.5 * len(id)}, step=step)
        time.sleep(0.02)
    trackio.finish()
else:
    import mlflow

    mlflow.set_experiment("sums")
    with mlflow.start_run(run_id=id[0] if id else None, run_name=None if id else "long"):
        for step in steps:
            mlflow.log_metric("loss", step + 0.5 * len(id), step=step)
