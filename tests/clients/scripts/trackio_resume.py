"""One process of a run that is resumed: `trackio_resume.py RESUME COUNT once|often [wait]`.

It logs COUNT times, in one request or in several, and ends the run; with `wait` it waits to be
killed instead.
"""

import sys
import time

import trackio

resume, count, requests, *wait = sys.argv[1:]
trackio.init(project="sums", name="long", resume=resume, config={"lr": 0.1}, auto_log_cpu=False)
for index in range(int(count)):
    trackio.log({"loss": float(index)})
    if requests == "often" and index % 20 == 19:
        # The client sends what it has every half second.
        time.sleep(0.7)
if wait:
    time.sleep(600)
trackio.finish()
