// Names and small components that several pages share.
import { html, useState } from "./vendor/preact-htm.js";

export const OUTCOMES = ["accepted", "refused", "rejected", "dropped"];
export const TRIGGERS = ["http", "timer", "queue", "topic", "event", "oss", "destination", "campaign", "invocation"];
export const DELIVERIES = {
  1: "Android device", 2: "iOS device", 3: "user", 5: "Live Activity token", 6: "Live Activity", 7: "HarmonyOS device",
};

export const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour12: false });
export const moment = (iso) => new Date(iso).toLocaleString([], { hour12: false });
export const thousands = (number) => number.toLocaleString("en");
export const plural = (number, word) => `${thousands(number)} ${word}${number === 1 ? "" : "s"}`;
export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 120) return plural(Math.round(seconds), "second");
  if (seconds < 7200) return plural(Math.round(seconds / 60), "minute");
  return plural(Math.round(seconds / 3600), "hour");
}
export const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

export const Badge = ({ kind, children }) => html`<span class="badge ${kind}">${children}</span>`;

export function Copy({ text, label }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button type="button" class="secondary outline small" onClick=${copy}>${done ? "Copied" : label}</button>`;
}

export const Failure = ({ error }) => error && html`<p role="alert" class="failure">${error}</p>`;

// A refusal of the API: its text and the errors of its fields.
export const Refusal = ({ error }) => error && html`<div role="alert" class="failure"><p>${error.message}</p>
  ${error.errors?.length > 0 && html`<ul class="faults">${error.errors.map((fault) => html`<li><code>${fault.field || "campaign"}</code> ${fault.message}</li>`)}</ul>`}</div>`;

// The result of sending through the HTTP function, a timer or the queue.
export function SendResult({ sent }) {
  if (!sent) return null;
  const { via, status, answer } = sent;
  if (via === "timer") return html`<p role="status" class="answer">The timer fired: request ${answer.requestId}. If the message is invalid, the call fails and is retried: the <a href="#/overview">overview</a> counts it, and after the last attempt its record is in the failed queue (<a href="#/queues">queues</a>).</p>`;
  if (via === "queue") return html`<p role="status" class="answer">Sent to the queue: message ${answer.messageId}.</p>`;
  const kinds = Object.entries(answer.counts || {}).map(([outcome, number]) => `${number} ${outcome}`).join(", ");
  return html`<div role="status" class="answer">
    <p>HTTP ${status}${kinds && `: ${kinds}`}${answer.detail && `: ${answer.detail}`}</p>
    <details><summary>Response of the function</summary><pre tabindex="0">${JSON.stringify(answer, null, 2)}</pre></details>
  </div>`;
}
