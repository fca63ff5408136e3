import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { emit } from "../../static/js/page.js";

/** @type {string[]} */
let events = [];
let isLoading = false;
let names = 0;

/** @returns {string} a name that no other test has used */
const newName = () => `changed:${(names += 1)}`;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1e12 });
  events = [];
  isLoading = false;
  Object.assign(globalThis, {
    document: {
      querySelector: () => (isLoading ? {} : null),
      body: { dispatchEvent: (/** @type {Event} */ event) => events.push(event.type) },
    },
  });
});

test("changes in quick succession load twice: at once, and after the last of them", () => {
  const name = newName();
  emit(name);
  assert.deepEqual(events, [name]);
  for (let change = 0; change < 5; change += 1) emit(name);
  mock.timers.tick(1999);
  assert.deepEqual(events, [name]);
  mock.timers.tick(1);
  assert.deepEqual(events, [name, name]);
  mock.timers.tick(10_000);
  assert.equal(events.length, 2);
});

test("a change is not lost while an earlier one still loads", () => {
  const name = newName();
  emit(name);
  isLoading = true;
  mock.timers.tick(5000);
  emit(name);
  mock.timers.tick(4000);
  assert.deepEqual(events, [name]);
  isLoading = false;
  mock.timers.tick(2000);
  assert.deepEqual(events, [name, name]);
});

test("events of another name do not wait", () => {
  const [first, second] = [newName(), newName()];
  emit(first);
  emit(second);
  assert.deepEqual(events, [first, second]);
});
