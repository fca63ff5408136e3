"""MLflow's client writes its folder `mlruns`: two runs, the first of which goes on when the script
is called with its id.
"""

import sys

import mlflow

mlflow.set_tracking_uri("file:mlruns")
mlflow.set_experiment("sums")
if sys.argv[1:]:
    with mlflow.start_run(run_id=sys.argv[1]):
        mlflow.log_metric("loss", 0.01, step=20)
else:
    with mlflow.start_run(run_name="first"):
        mlflow.log_params({"lr": 0.1})
        for step in range(20):
            mlflow.log_metrics({"loss": 1 / (step + 1), "eval/kl": step * 0.5}, step=step)
    with mlflow.start_run(run_name="second"):
        mlflow.log_metric("loss", float("nan"), step=1)
