"""What a person writes to log a run with MLflow, and to read it back."""

import json
import math

import mlflow

mlflow.set_experiment("sums")
with mlflow.start_run(run_name="first", tags={"team": "b"}) as run:
    mlflow.log_params({"lr": 0.1, "model": "small"})
    mlflow.log_param("seed", 1)
    for step in range(30):
        mlflow.log_metrics({"loss": 1 / (step + 1), "eval/kl": step * 0.5}, step=step)
    for step in range(30, 60):
        mlflow.log_metric("loss", 1 / (step + 1), step=step, synchronous=False)
    mlflow.log_metrics({"loss": math.nan, "gain": math.inf}, step=60)
    mlflow.set_tag("note", "kept")
    mlflow.log_text("hello", "hello.txt")
mlflow.flush_async_logging()

client = mlflow.MlflowClient()
print("kept:", [file.path for file in client.list_artifacts(run.info.run_id)])
history = client.get_metric_history(run.info.run_id, "loss")
print("history:", [(point.step, point.value) for point in history][:3], len(history))
runs = mlflow.search_runs(
    experiment_names=["sums"],
    filter_string="params.lr = '0.1' and status = 'FINISHED'",
    output_format="list",
)
for logged_run in runs:
    print(
        "found:",
        json.dumps(
            [
                logged_run.info.run_name,
                logged_run.data.params["model"],
                logged_run.data.tags["note"],
                logged_run.data.metrics["eval/kl"],
            ]
        ),
    )
