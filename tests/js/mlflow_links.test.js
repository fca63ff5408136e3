/**
 * The links that MLflow's client prints redirect to the run or the project; other addresses do not.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { targetOf } from "../../static/js/mlflow_links.js";

const projects = { 7: "sums & more" };

test("a run's link redirects to the run, an experiment's to the runs of its project", () => {
  assert.equal(targetOf("#/experiments/7/runs/abcdefghjk", projects), "/runs/abcdefghjk/");
  assert.equal(targetOf("#/experiments/7", projects), "/?project=sums+%26+more");
});

test("other addresses do not redirect", () => {
  for (const hash of [
    "",
    "#main",
    "#/experiments/8",
    "#/experiments/7/runs/../../evil",
    "#/experiments/x/runs/abc",
    "#//evil.example",
  ])
    assert.equal(targetOf(hash, projects), null, hash);
});
