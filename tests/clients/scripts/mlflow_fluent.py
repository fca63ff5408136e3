"""What MLflow's users write: nested and failed runs, asynchronous logs, data frames."""

import json

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

client = MlflowClient()


def say(what: str, value: object) -> None:
    print(f"{what}:", json.dumps(value))


mlflow.set_experiment("sums")
with mlflow.start_run(run_name="parent", description="a sweep", tags={"team": "b"}) as parent:
    for index in range(2):
        with mlflow.start_run(run_name=f"child {index}", nested=True) as child:
            mlflow.log_param("lr", 0.1 * index)
            mlflow.log_metrics({"loss": 1.0 - index, "acc": 0.5 + index / 4}, step=1)
    mlflow.set_tags({"a": 1, "b": None})
    mlflow.delete_tag("b")
found = mlflow.get_parent_run(child.info.run_id)
say("parent", found is not None and found.info.run_id == parent.info.run_id)
children = mlflow.search_runs(
    filter_string=f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'",
    order_by=["metrics.loss"],
)
say("children", children[["tags.mlflow.runName", "metrics.loss", "params.lr"]].values.tolist())

try:
    with mlflow.start_run(run_name="broken") as broken:
        mlflow.log_metric("loss", 1.0)
        raise ValueError("it diverged")
except ValueError:
    pass
say("broken", client.get_run(broken.info.run_id).info.status)

with mlflow.start_run(run_name="asynchronous") as run:
    operations = [
        mlflow.log_metrics({"loss": float(step)}, step=step, synchronous=False)
        for step in range(30)
    ]
    operations.append(mlflow.log_params({"p": 1, "q": "x"}, synchronous=False))
    operations.append(mlflow.set_tags({"t": "1"}, synchronous=False))
    for operation in operations:
        assert operation is not None
        operation.wait()
    client.log_batch(
        run.info.run_id,
        metrics=[Metric("kl", step / 2, 1000 + step, step) for step in range(500)],
        params=[Param(f"p{index}", str(index)) for index in range(90)],
        tags=[RunTag("u", "2")],
        synchronous=True,
    )
last = mlflow.last_active_run()
assert last is not None
say("last", [last.info.run_name, last.info.status, last.data.metrics, len(last.data.params)])
say("tags", [last.data.tags["t"], last.data.tags["u"]])
history = client.get_metric_history(run.info.run_id, "kl")
say("history", [len(history), history[-1].step, history[-1].value, history[-1].timestamp])

# A run that has ended is logged to again, by its id.
with mlflow.start_run(run_id=broken.info.run_id):
    mlflow.log_metric("loss", 0.5, step=1)
say("again", client.get_run(broken.info.run_id).info.status)
for wrong in (
    lambda: client.log_param(run.info.run_id, "p", 2),
    lambda: client.get_run("unknown"),
    lambda: client.log_metric(run.info.run_id, "k", "text"),  # type: ignore[arg-type]
    lambda: mlflow.search_runs(filter_string="metrics.loss LIKE 'a'"),
):
    try:
        wrong()
    except Exception as refusal:
        say("refused", str(refusal)[:60])
