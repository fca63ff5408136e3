/**
 * The header of a run, updated by the frames of the live connection.
 *
 * Numbers are updated in place. If the state changes, the number of files that wait for the artifact
 * store, or what people wrote about the run, the header is reloaded, unless one of its menus is open.
 */

import { count, seconds } from "../format.js";
import { ACTIVE, emit, isSilent, pageData, setLiveText } from "../page.js";
import { isMenuOpen, startEditing } from "./editing.js";

/** A delay up to this is shown as "caught up". */
const MAX_FRESH_S = 3;

/** @type {Record<import("../live.js").Status, string>} */
const STATUS_TEXT = {
  connecting: "connecting…",
  live: "caught up",
  stalled: "the server cannot read its database, trying again…",
  waiting: "connection lost, trying again…",
  asleep: "paused while hidden",
  signed_out: "signed out: open the page again to sign in",
};

/** @param {import("../live.js").Live} live */
export function createHeader(live) {
  const { phases, patience_s: patience } = pageData("live-data");
  /** @type {import("../live.js").State | null} */
  let latest = null;
  /** @type {import("../live.js").Status} */
  let connection = "connecting";
  let refusal = "";
  let isRefreshDue = false;
  let shownName = nameInHeader();
  let knownEdits = Number(document.getElementById("run-head")?.dataset.edits);

  live.onStatusChange((status) => {
    connection = status;
    showStatus();
  });
  document.body.addEventListener("htmx:afterSettle", show);
  startEditing(() => isRefreshDue && refresh());
  setInterval(showSilence, 5000);
  document
    .querySelector(".tabs [aria-current]")
    ?.scrollIntoView({ block: "nearest", inline: "nearest" });

  function nameInHeader() {
    return document.querySelector("#run-head h1")?.textContent ?? "";
  }

  function refresh() {
    isRefreshDue = isMenuOpen();
    if (!isRefreshDue) emit("run:state");
  }

  function show() {
    const name = nameInHeader();
    document.title = document.title.replace(shownName, () => name);
    shownName = name;
    const head = document.getElementById("run-head");
    if (!head || !latest) return;
    setLiveText(head, "step", count(latest.step));
    if (ACTIVE.includes(latest.state))
      setLiveText(head, "phase", phases[latest.phase] ?? latest.phase);
    setLiveText(head, "eta_s", latest.eta_s == null ? "–" : seconds(latest.eta_s));
    const isWithout = latest.eta_s != null && latest.summary.final_evaluation_s == null;
    setLiveText(head, "eta_note", isWithout ? "without the final evaluation" : "");
    const bar = /** @type {HTMLProgressElement | null} */ (head.querySelector("[data-progress]"));
    if (bar) bar.value = latest.step;
    document.title = document.title.replace(
      /^(\d+ % · )?/,
      ACTIVE.includes(latest.state) && latest.total_steps
        ? `${Math.floor((100 * latest.step) / latest.total_steps)} % · `
        : "",
    );
    showSilence();
    showStatus();
  }

  function showStatus() {
    const status = document.querySelector("[data-status]");
    if (!status) return;
    const behind = latest?.behind_s ?? 0;
    const isBehind = behind > MAX_FRESH_S;
    const isSilentRun =
      /** @type {HTMLElement | null} */ (document.querySelector("#run-head [data-silent]"))
        ?.hidden === false;
    const text =
      refusal ||
      (connection !== "live"
        ? STATUS_TEXT[connection]
        : isBehind
          ? `${seconds(behind)} behind`
          : isSilentRun
            ? "no signal from the run"
            : STATUS_TEXT.live);
    if (status.textContent !== text) status.textContent = text;
    const isUpToDate = connection === "live" && !isBehind && !isSilentRun && !refusal;
    status.classList.toggle("is-live", isUpToDate);
    status.classList.toggle("is-behind", !isUpToDate);
  }

  function showSilence() {
    const badge = /** @type {HTMLElement | null} */ (
      document.querySelector("#run-head [data-silent]")
    );
    const lastEvent = latest?.last_event_at ?? badge?.dataset.lastEvent;
    const state =
      latest?.state ??
      document.querySelector("#run-head [data-state]")?.getAttribute("data-state") ??
      "";
    if (!badge || !lastEvent) return;
    badge.hidden = !isSilent(state, lastEvent, patience);
    document.querySelector("#run-head [data-heard]")?.toggleAttribute("hidden", !badge.hidden);
    setLiveText(badge, "last_event_at", new Date(lastEvent).toLocaleTimeString("en-GB"));
    showStatus();
  }

  return {
    /** @param {string} message why the run is no longer shown */
    refused(message) {
      refusal = message;
      showStatus();
    },
    /** @param {import("../live.js").Frame} frame */
    receive(frame) {
      // The parts of a large update carry the same state: one of them is enough.
      if (frame.part < frame.parts - 1) return;
      const head = document.getElementById("run-head");
      const shownState = head?.querySelector("[data-state]")?.textContent;
      latest = frame.state;
      show();
      const pendingFiles = latest.summary.unstored?.files ?? 0;
      if (
        head &&
        ((shownState && shownState !== latest.word) ||
          Number(head.dataset.pendingFiles) !== pendingFiles ||
          Number(head.dataset.edits) !== (latest.edits ?? 0))
      )
        refresh();
      if (knownEdits !== (latest.edits ?? 0)) emit("run:edited");
      knownEdits = latest.edits ?? 0;
      for (const name of frame.changed) emit(`run:${name}`);
    },
  };
}
