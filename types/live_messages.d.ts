/**
 * The messages of the live protocol (docs/live-protocol.md), from webapp/live/messages.schema.json.
 * Generated: node tests/js/message_types.js
 */

/**
 * A whole series: `count` points in as many buckets as `x` has entries.
 *
 * `marks` are (step, value) of values that are not finite.
 */
export type Buckets = {
  key: string;
  x: Array<number>;
  mean: Array<number | "NaN" | "Infinity" | "-Infinity">;
  min: Array<number | "NaN" | "Infinity" | "-Infinity">;
  max: Array<number | "NaN" | "Infinity" | "-Infinity">;
  last: Array<number | "NaN" | "Infinity" | "-Infinity">;
  count: number;
  marks: Array<[number, number | "NaN" | "Infinity" | "-Infinity"]>;
};

/**
 * The points between the client's cursor and this one.
 */
export type Delta = {
  run: string;
  cursor: number;
  part: number;
  parts: number;
  now: string;
  state: State;
  changed: Array<string>;
  type: "delta";
  series: Array<Points>;
};

/**
 * Progress of a job: problems answered, parts done, and copies of parts that are running.
 */
export type JobRow = {
  job: string;
  done: number;
  parts_done: number;
  at_work: number;
};

/**
 * All running jobs, sent at once and at each change. A job that has ended is not listed.
 */
export type Jobs = {
  type: "jobs";
  now: string;
  rows: Array<JobRow>;
};

/**
 * The client's last message was invalid.
 */
export type Mistake = {
  type: "error";
  message: string;
};

/**
 * Ask for a sign of life. A page sends it after a long silence about a running run.
 */
export type Ping = {
  type: "ping";
};

/**
 * New points of one series: `y[i]` at step `x[i]`.
 */
export type Points = {
  key: string;
  x: Array<number>;
  y: Array<number | "NaN" | "Infinity" | "-Infinity">;
};

export type Pong = {
  type: "pong";
};

/**
 * This subscription has ended, or was not allowed.
 */
export type Refused = {
  type: "refused";
  run: string;
  message: string;
};

/**
 * Replaces all data of the client, from part 0 on: each series in about `width` buckets.
 */
export type Reset = {
  run: string;
  cursor: number;
  part: number;
  parts: number;
  now: string;
  state: State;
  changed: Array<string>;
  type: "reset";
  width: number;
  series: Array<Buckets>;
};

export type Row = {
  state: string;
  word: string;
  step: number;
  total_steps: number | null;
  phase: string;
  eta_s: number | null;
  reason: string;
  remedy: string;
  attempt: number;
  last_event_at: string | null;
  behind_s: number | null;
  summary: Record<string, any>;
  edits?: number;
  run: string;
  name: string;
};

/**
 * Rows of the list that changed or are new to this client.
 *
 * `removed`: a run that this client has heard of was deleted, or is too old for the list now.
 */
export type Runs = {
  type: "runs";
  now: string;
  rows: Array<Row>;
  removed?: boolean;
};

/**
 * The server cannot read its database now. It tries again; the next frame ends the outage.
 */
export type Stalled = {
  type: "stalled";
  message: string;
};

/**
 * What headers and lists show of a run.
 *
 * `word` is the state as people read it: a queued run may be held, a running one logging. `edits`
 * counts the changes of name, notes, tags, pin and archive. `last_event_at` is by the database's
 * clock; `behind_s` is its age while more events wait.
 */
export type State = {
  state: string;
  word: string;
  step: number;
  total_steps: number | null;
  phase: string;
  eta_s: number | null;
  reason: string;
  remedy: string;
  attempt: number;
  last_event_at: string | null;
  behind_s: number | null;
  summary: Record<string, any>;
  edits?: number;
};

/**
 * Follow a run from batch `since` on; replaces an earlier subscription to it.
 *
 * `keys` null selects every series.
 */
export type Subscribe = {
  type: "subscribe";
  run: string;
  keys?: Array<string> | null;
  since?: number;
  width?: number;
};

/**
 * Follow the running jobs of the current team.
 */
export type SubscribeJobs = {
  type: "subscribe_jobs";
};

/**
 * Follow the newest runs of the current team.
 */
export type SubscribeList = {
  type: "subscribe_list";
};

export type Unsubscribe = {
  type: "unsubscribe";
  run: string;
};

export type ClientMessage = Subscribe | Unsubscribe | SubscribeList | SubscribeJobs | Ping;

export type ServerMessage = Delta | Reset | Runs | Jobs | Refused | Stalled | Pong | Mistake;
