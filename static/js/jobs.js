/**
 * The list of jobs, and a job that runs: whenever a job moves the page looks again. One that is
 * over hears of nothing.
 */

import { openLive } from "./live.js";
import { emit, startAgeTimer } from "./page.js";

const shown = document.getElementById("job")?.dataset.job;
let heard = "";

startAgeTimer();
openLive().followJobs((rows) => {
  const now = JSON.stringify(shown ? rows.filter(({ job }) => job === shown) : rows);
  if (now !== heard) emit("jobs:changed");
  heard = now;
});
