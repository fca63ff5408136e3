/**
 * The header of a run, kept true by the states that the socket brings: figures are written in place; when the state itself changes, the
 * header is fetched again, because other actions are then possible.
 */

import { count, seconds } from "./format.js";
import { ACTIVE, announce, isSilent, pageData, writeLive } from "./page.js";

/**
 * @typedef {{state: string, step: number, total_steps: number | null, phase: string, eta_s: number | null, reason: string, attempt: number,
 *   last_event_at: string | null, behind_s: number | null}} State
 */

const FRESH_S = 3;

/** @param {import("./live.js").Live} live */
export function keepHeader(live) {
  const { phases } = pageData("live-data");
  /** @type {State | null} */
  let latest = null;
  /** @type {import("./live.js").Status} */
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
    writeLive(head, "step", count(latest.step));
    if (ACTIVE.includes(latest.state)) writeLive(head, "phase", phases[latest.phase] ?? latest.phase);
    writeLive(head, "eta_s", latest.eta_s == null ? "–" : seconds(latest.eta_s));
    const bar = /** @type {HTMLProgressElement | null} */ (head.querySelector("[data-progress]"));
    if (bar) bar.value = latest.step;
    document.title = document.title.replace(/^(\d+ % · )?/, ACTIVE.includes(latest.state) && latest.total_steps ? `${Math.floor((100 * latest.step) / latest.total_steps)} % · ` : "");
    showStatus();
    showSilence();
  }

  function showStatus() {
    const status = document.querySelector("[data-status]");
    if (!status) return;
    const behind = latest?.behind_s ?? 0;
    const late = behind > FRESH_S;
    /** @type {Record<string, string>} */
    const words = { connecting: "connecting…", waiting: "connection lost, trying again…", asleep: "paused while hidden", live: late ? `${seconds(behind)} behind` : "caught up" };
    const text = refusal || words[connection];
    if (status.textContent !== text) status.textContent = text;
    const fresh = connection === "live" && !late && !refusal;
    status.classList.toggle("is-live", fresh);
    status.classList.toggle("is-behind", !fresh);
  }

  function showSilence() {
    const badge = /** @type {HTMLElement | null} */ (document.querySelector("#run-head [data-silent]"));
    const last = latest?.last_event_at ?? badge?.dataset.lastEvent;
    const state = latest?.state ?? document.querySelector("#run-head [data-state]")?.getAttribute("data-state") ?? "";
    if (!badge || !last) return;
    badge.hidden = !isSilent(state, last);
    writeLive(badge, "last_event_at", new Date(last).toLocaleTimeString("en-GB"));
  }

  return {
    /** @param {string} message why the run is not shown any more */
    refused(message) {
      refusal = message;
      showStatus();
    },
    /** @param {import("./live.js").Frame} frame */
    receive(frame) {
      const shown = document.querySelector("#run-head [data-state]")?.getAttribute("data-state");
      latest = /** @type {State} */ (frame.state);
      show();
      if (shown && shown !== latest.state) announce("run:state");
      for (const part of frame.changed ?? []) announce(`run:${part}`);
    },
  };
}
