/** The overview of a run whose series nobody knew beforehand: a chart for each, of which only those in view are read and drawn. */

import { startBoard } from "../charts/tools.js";
import { createHeader } from "./header.js";
import { openLive } from "../live.js";
import { startAgeTimer, pageData } from "../page.js";

const MARGIN = "300px";
const SETTLE_MS = 80;
const figures = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("figure[data-key]")]);
const parts = /** @type {HTMLTemplateElement} */ (document.getElementById("chart-parts"));
const find = /** @type {HTMLInputElement | null} */ (document.getElementById("find-series"));
const live = openLive();
const header = createHeader(live);
const board = startBoard(live, { refused: header.refused, receive });
/** @type {Set<string>} ids of the figures in view */
const inView = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;

/** @param {import("../live.js").Frame} frame */
function receive(frame) {
  header.receive(frame);
  const more = (frame.state.summary.series ?? 0) - pageData("board-data").charts.length;
  const notice = document.getElementById("new-series");
  const words = document.querySelector("[data-new-series]");
  if (notice && words) words.textContent = `${more} new series.`;
  notice?.toggleAttribute("hidden", more <= 0);
}

/** What a chart consists of, put into its figure when it first comes into view. @param {HTMLElement} figure */
function fill(figure) {
  if (!figure.classList.contains("is-waiting")) return;
  figure.classList.remove("is-waiting");
  const key = figure.dataset.key ?? "";
  const made = /** @type {DocumentFragment} */ (parts.content.cloneNode(true));
  made.querySelectorAll("[aria-label]").forEach((element) => element.setAttribute("aria-label", (element.getAttribute("aria-label") ?? "").replace("◌", key)));
  made.querySelectorAll("a[href]").forEach((link) => link.setAttribute("href", `${link.getAttribute("href")}?${new URLSearchParams({ key })}`));
  figure.append(made);
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) inView.add(target.id);
      else inView.delete(target.id);
    }
    clearTimeout(settling);
    settling = setTimeout(() => {
      figures.filter((figure) => inView.has(figure.id)).forEach(fill);
      board.look((declared) => inView.has(`chart-${declared.id}`));
    }, SETTLE_MS);
  },
  { rootMargin: MARGIN },
);

find?.addEventListener("input", () => {
  const words = find.value.toLowerCase().split(/\s+/);
  for (const figure of figures) figure.hidden = !words.every((word) => figure.dataset.key?.toLowerCase().includes(word));
  document.querySelectorAll("[data-group]").forEach((group) => group.toggleAttribute("hidden", !group.querySelector("figure:not([hidden])")));
  document.getElementById("no-series")?.toggleAttribute("hidden", figures.some((figure) => !figure.hidden));
});

startAgeTimer();
figures.forEach((figure) => observer.observe(figure));
