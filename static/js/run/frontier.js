/** The frontier tab: the heat map, fetched again when new pass rates have come. */

import { count, percent } from "../format.js";
import { createHeader } from "./header.js";
import { drawHeatMap } from "./heat_map.js";
import { openLive } from "../live.js";
import { startAgeTimer, pageData } from "../page.js";

const REFETCH_MS = 2000;
const figure = /** @type {HTMLElement} */ (document.getElementById("heat"));
const holder = /** @type {HTMLElement} */ (figure.querySelector("[data-heat]"));
const { address } = pageData("heat-data");
const { run, since } = pageData("live-data");
/** @type {import("./heat_map.js").Heat | null} */
let heat = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;

const line = document.createElement("p");
line.className = "heat-read muted";
holder.after(line);

/** @param {string} words */
function read(words) {
  line.textContent = words;
  const spoken = figure.querySelector("[data-spoken]");
  if (spoken) spoken.textContent = words;
}

function draw() {
  figure.classList.toggle("is-empty", !heat?.columns.length);
  if (!heat?.columns.length) return;
  drawHeatMap(holder, heat, read);
  fillTable(heat);
}

/** @param {import("./heat_map.js").Heat} shown */
function fillTable({ columns }) {
  const table = document.createElement("table");
  table.className = "table compact";
  const head = table.createTHead().insertRow();
  for (const name of ["step", "hopeless", "at the frontier", "mastered"]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = "number";
    cell.textContent = name;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const column of columns) {
    const row = body.insertRow();
    for (const value of [count(column.step), percent(column.hopeless), percent(column.frontier), percent(column.mastered)]) {
      const cell = row.insertCell();
      cell.className = "number";
      cell.textContent = value;
    }
  }
  figure.querySelector("[data-heat-table]")?.replaceChildren(table);
}

async function load() {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  if (!response.ok) return;
  heat = await response.json();
  draw();
}

const live = openLive();
const header = createHeader(live);
startAgeTimer();
live.follow(run, {
  keys: [],
  width: 10,
  since,
  onRefused: header.refused,
  onFrame(frame) {
    header.receive(frame);
    if (frame.changed?.includes("problems") || frame.type === "reset") waiting ??= setTimeout(() => { waiting = undefined; load(); }, REFETCH_MS);
  },
});
new ResizeObserver(draw).observe(figure);
load();
