"""A run that goes on through an outage: it logs until the file `stop` appears, then prints how
often it logged.
"""

import sys
import time
from pathlib import Path

import trackio

trackio.init(project="sums", name=sys.argv[1], auto_log_cpu=False)
count = 0
while not Path("stop").exists():
    trackio.log({"loss": float(count)})
    count += 1
    time.sleep(0.02)
trackio.finish()
print("logged", count)
