/** The Frontier tab: the heat map, loaded again when there are new pass rates. */

import { count, percent } from "../format.js";
import { createHeader } from "./header.js";
import { drawHeatMap } from "./heat_map.js";
import { openLive } from "../live.js";
import { startAgeTimer, pageData } from "../page.js";

const REFETCH_MS = 2000;
const figure = /** @type {HTMLElement} */ (document.getElementById("heat"));
const container = /** @type {HTMLElement} */ (figure.querySelector("[data-heat]"));
const { address } = pageData("heat-data");
const { run, since } = pageData("live-data");
/** @type {import("./heat_map.js").Heat | null} */
let heat = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let refetchTimer;

const cellText = document.createElement("p");
cellText.className = "heat-read muted";
container.after(cellText);

/** Show the values of a cell, and announce them to screen readers. @param {string} text */
function showCell(text) {
  cellText.textContent = text;
  const spoken = figure.querySelector("[data-spoken]");
  if (spoken) spoken.textContent = text;
}

function draw() {
  figure.classList.toggle("is-empty", !heat?.columns.length);
  if (!heat?.columns.length) return;
  drawHeatMap(container, heat, showCell);
  fillTable(heat);
}

/** @param {import("./heat_map.js").Heat} heat */
function fillTable({ columns }) {
  const table = document.createElement("table");
  table.className = "table compact";
  const headRow = table.createTHead().insertRow();
  for (const name of ["step", "hopeless", "at the frontier", "mastered"]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = "number";
    cell.textContent = name;
    headRow.append(cell);
  }
  const body = table.createTBody();
  for (const column of columns) {
    const row = body.insertRow();
    for (const value of [
      count(column.step),
      percent(column.hopeless),
      percent(column.frontier),
      percent(column.mastered),
    ]) {
      const cell = row.insertCell();
      cell.className = "number";
      cell.textContent = value;
    }
  }
  figure.querySelector("[data-heat-table]")?.replaceChildren(table);
}

async function load() {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  // A guest whose link was revoked is sent to the sign-in page.
  if (!response.ok || response.redirected) return;
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
    if (frame.changed.includes("problems") || frame.type === "reset")
      refetchTimer ??= setTimeout(() => {
        refetchTimer = undefined;
        load();
      }, REFETCH_MS);
  },
});
new ResizeObserver(draw).observe(figure);
load();
