/**
 * The header of a run, kept true by the states that the socket brings: figures are written in place; when the state itself changes, or
 * what waits for the artifact store, the header is fetched again.
 */

import { count, seconds } from "../format.js";
import { ACTIVE, emit, isSilent, pageData, setLiveText } from "../page.js";

const FRESH_S = 3;

/** @type {Record<import("../live.js").Status, string>} */
const WORDS = {
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

  live.whenStatusChanges((status) => {
    connection = status;
    showStatus();
  });
  document.body.addEventListener("htmx:afterSettle", show);
  setInterval(showSilence, 5000);
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

  function show() {
    const head = document.getElementById("run-head");
    if (!head || !latest) return;
    setLiveText(head, "step", count(latest.step));
    if (ACTIVE.includes(latest.state)) setLiveText(head, "phase", phases[latest.phase] ?? latest.phase);
    setLiveText(head, "eta_s", latest.eta_s == null ? "–" : seconds(latest.eta_s));
    const bar = /** @type {HTMLProgressElement | null} */ (head.querySelector("[data-progress]"));
    if (bar) bar.value = latest.step;
    document.title = document.title.replace(/^(\d+ % · )?/, ACTIVE.includes(latest.state) && latest.total_steps ? `${Math.floor((100 * latest.step) / latest.total_steps)} % · ` : "");
    showSilence();
    showStatus();
  }

  function showStatus() {
    const status = document.querySelector("[data-status]");
    if (!status) return;
    const behind = latest?.behind_s ?? 0;
    const late = behind > FRESH_S;
    const silent = /** @type {HTMLElement | null} */ (document.querySelector("#run-head [data-silent]"))?.hidden === false;
    const text = refusal || (connection !== "live" ? WORDS[connection] : late ? `${seconds(behind)} behind` : silent ? "no news of the run" : WORDS.live);
    if (status.textContent !== text) status.textContent = text;
    const fresh = connection === "live" && !late && !silent && !refusal;
    status.classList.toggle("is-live", fresh);
    status.classList.toggle("is-behind", !fresh);
  }

  function showSilence() {
    const badge = /** @type {HTMLElement | null} */ (document.querySelector("#run-head [data-silent]"));
    const last = latest?.last_event_at ?? badge?.dataset.lastEvent;
    const state = latest?.state ?? document.querySelector("#run-head [data-state]")?.getAttribute("data-state") ?? "";
    if (!badge || !last) return;
    badge.hidden = !isSilent(state, last, patience);
    setLiveText(badge, "last_event_at", new Date(last).toLocaleTimeString("en-GB"));
    showStatus();
  }

  return {
    /** @param {string} message why the run is not shown any more */
    refused(message) {
      refusal = message;
      showStatus();
    },
    /** @param {import("../live.js").Frame} frame */
    receive(frame) {
      if (frame.part < frame.parts - 1) return;
      const head = document.getElementById("run-head");
      const shown = head?.querySelector("[data-state]")?.textContent;
      latest = frame.state;
      show();
      const waiting = latest.summary.unstored?.files ?? 0;
      if (head && ((shown && shown !== latest.word) || Number(head.dataset.unstored) !== waiting)) emit("run:state");
      for (const part of frame.changed) emit(`run:${part}`);
    },
  };
}
