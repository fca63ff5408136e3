/** The list of jobs, and the page of one job: both are fetched again when a running job changes. */

import { openLive } from "./live.js";
import { emit, startAgeTimer } from "./page.js";

const shownJob = document.getElementById("job")?.dataset.job;
let lastRows = "";

startAgeTimer();
openLive().followJobs((rows) => {
  const newRows = JSON.stringify(shownJob ? rows.filter(({ job }) => job === shownJob) : rows);
  if (newRows !== lastRows) emit("jobs:changed");
  lastRows = newRows;
});
