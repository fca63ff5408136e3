/**
 * The Overview tab of a run that a client logged: a chart for each series. Only charts in view are
 * read and drawn.
 */

import { startBoard } from "../charts/board_tools.js";
import { openLive } from "../live.js";
import { pageData, startAgeTimer } from "../page.js";
import { createHeader } from "./header.js";

/** Charts this close to the window count as in view, so that scrolling does not show empty ones. */
const VIEW_MARGIN = "300px";
/** Scrolling fast passes many charts: they are requested once it rests. */
const SETTLE_MS = 80;
const figures = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("figure[data-key]")]);
const chartTemplate = /** @type {HTMLTemplateElement} */ (document.getElementById("chart-parts"));
const searchField = /** @type {HTMLInputElement | null} */ (document.getElementById("find-series"));
const live = openLive();
const header = createHeader(live);
const board = startBoard(live, { refused: header.refused, receive });
/** @type {Set<string>} ids of the figures in view */
const inView = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let settleTimer;

/** @param {import("../live.js").Frame} frame */
function receive(frame) {
  header.receive(frame);
  const newSeries = (frame.state.summary.series ?? 0) - pageData("board-data").charts.length;
  const text = document.querySelector("[data-new-series]");
  if (text) text.textContent = `${newSeries} new series.`;
  document.getElementById("new-series")?.toggleAttribute("hidden", newSeries <= 0);
}

/**
 * Put the elements of a chart into its figure when it first comes into view.
 * @param {HTMLElement} figure
 */
function fillFigure(figure) {
  if (!figure.classList.contains("is-waiting")) return;
  figure.classList.remove("is-waiting");
  const key = figure.dataset.key ?? "";
  const content = /** @type {DocumentFragment} */ (chartTemplate.content.cloneNode(true));
  content
    .querySelectorAll("[aria-label]")
    .forEach((element) =>
      element.setAttribute(
        "aria-label",
        (element.getAttribute("aria-label") ?? "").replace("◌", key),
      ),
    );
  content
    .querySelectorAll("a[href]")
    .forEach((link) =>
      link.setAttribute("href", `${link.getAttribute("href")}?${new URLSearchParams({ key })}`),
    );
  figure.append(content);
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) inView.add(target.id);
      else inView.delete(target.id);
    }
    clearTimeout(settleTimer);
    settleTimer = setTimeout(() => {
      figures.filter((figure) => inView.has(figure.id)).forEach(fillFigure);
      board.showOnly((declaration) => inView.has(`chart-${declaration.id}`));
    }, SETTLE_MS);
  },
  { rootMargin: VIEW_MARGIN },
);

searchField?.addEventListener("input", () => {
  const terms = searchField.value.toLowerCase().split(/\s+/);
  for (const figure of figures)
    figure.hidden = !terms.every((term) => figure.dataset.key?.toLowerCase().includes(term));
  document
    .querySelectorAll("[data-group]")
    .forEach((group) =>
      group.toggleAttribute("hidden", !group.querySelector("figure:not([hidden])")),
    );
  document.getElementById("no-series")?.toggleAttribute(
    "hidden",
    figures.some((figure) => !figure.hidden),
  );
});

startAgeTimer();
figures.forEach((figure) => observer.observe(figure));
