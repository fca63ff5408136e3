/** A tab without charts: updates the header and emits the events that reload parts of the tab. */

import { openLive } from "../live.js";
import { pageData, startAgeTimer } from "../page.js";
import { createHeader } from "./header.js";

const { run, since } = pageData("live-data");
const live = openLive();
const header = createHeader(live);
startAgeTimer();
live.follow(run, {
  keys: [],
  width: 10,
  since,
  onFrame: header.receive,
  onRefused: header.refused,
});
