"""A run that goes on through an outage: it logs until the file `stop` appears, then prints how
often it logged. `async` logs behind.
"""

import sys
import time
from pathlib import Path

import mlflow

mlflow.set_experiment("sums")
count = 0
with mlflow.start_run(run_name=sys.argv[1]):
    while not Path("stop").exists():
        mlflow.log_metric("loss", float(count), step=count, synchronous=sys.argv[1] != "async")
        count += 1
        time.sleep(0.02)
    mlflow.flush_async_logging()
print("logged", count)
