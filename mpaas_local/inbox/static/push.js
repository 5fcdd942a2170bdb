// One push: its preview, its request on the wire, all attempts, and the call that caused it.
import { html, useState } from "./vendor/preact-htm.js";
import { api, useChanges } from "./api.js";
import { Previews } from "./preview.js";
import { SendResult, Badge, Copy, Failure, clock, moment, plural, pretty } from "./words.js";

export function Push({ seq }) {
  const [details, setDetails] = useState(null);
  const [error, setError] = useState("");
  const [sent, setSent] = useState(null);
  const [busy, setBusy] = useState(false);
  useChanges(["pushes", "calls"], async () => {
    try {
      setDetails(await api(`/api/pushes/${seq}`));
      setError("");
    } catch (failure) {
      setError(failure.message);
    }
  }, [seq]);
  const again = async () => {
    setBusy(true);
    try {
      setSent(await api(`/api/pushes/${seq}/again`, { method: "POST", body: {} }));
    } catch (failure) {
      setError(failure.message);
    }
    setBusy(false);
  };
  if (!details) return html`<main class="container-fluid" id="main"><h1>Push ${seq}</h1><${Failure} error=${error} /></main>`;
  const { push, row, shown, attempts, call, campaign, copies } = details;
  return html`<main class="container-fluid" id="main">
    <p><a href="#/">← all pushes</a></p>
    <h1>${row.title || "(no title)"}</h1>
    <p class="marks">
      <${Badge} kind=${row.outcome}>${row.outcome}<//>
      ${row.fault && html`<${Badge} kind="fault">fault: ${row.fault}<//>`}
      <${Badge} kind="trigger">${row.trigger || "…"}<//>
      <span>${moment(row.receivedAt)}</span> <span class="breaks">task ${row.taskName}</span>
    </p>
    <div class="actions">
      <button type="button" disabled=${busy} onClick=${again}>Send again</button>
      <${Copy} label="Copy as curl" text=${copies.curl} />
      <${Copy} label="Copy as Python" text=${copies.python} />
      <${Copy} label="Copy as test payload" text=${copies.payload} />
    </div>
    <${Failure} error=${error} /><${SendResult} sent=${sent} />
    <div class="columns">
      <section aria-label="Preview"><h2>Preview</h2><${Previews} shown=${shown} /></section>
      <section aria-label="Details">
        <h2>Attempts</h2>
        <ol class="timeline">${attempts.map((attempt) => html`<li key=${attempt.seq} aria-current=${attempt.seq === row.seq ? "true" : undefined}>
          <time datetime=${attempt.receivedAt}>${clock(attempt.receivedAt)}</time> ${after(attempts[0], attempt)}
          <a href=${`#/push/${attempt.seq}`}>${attempt.outcome}${attempt.code ? ` ${attempt.code}` : ""}</a>
          ${attempt.fault && html` <${Badge} kind="fault">${attempt.fault}<//>`}</li>`)}</ol>
        <h2>Response</h2>
        <p>${push.answer.httpStatus === null ? "no response" : `HTTP ${push.answer.httpStatus}`} ${push.answer.code} ${push.answer.message}
          ${push.answer.connection !== "kept" && html` <${Badge} kind="fault">connection ${push.answer.connection}<//>`}</p>
        ${push.notes.length > 0 && html`<ul class="notes">${push.notes.map((note) => html`<li>${note}</li>`)}</ul>`}
        <h2>Targets</h2>
        <details><summary>${plural(push.targets.length, "target")} with message ids</summary><div class="scroll" tabindex="0"><table><thead><tr><th>Target</th><th>Message id</th></tr></thead>
          <tbody>${push.targets.map((target) => html`<tr><td>${target.target}</td><td><code>${target.messageId}</code>${target.repeated && html` <${Badge} kind="warning">repeated<//>`}</td></tr>`)}</tbody></table></div></details>
        <h2>Parameters</h2>
        <div class="scroll" tabindex="0"><table><tbody>${Object.entries(push.parameters || {}).map(([name, text]) => html`<tr><th scope="row">${name}</th><td><pre>${pretty(text)}</pre></td></tr>`)}</tbody></table></div>
        <h2>On the wire</h2>
        <pre tabindex="0" class="wire">POST /?${push.query}${"\n"}Content-Type: application/x-www-form-urlencoded${"\n\n"}${push.body}</pre>
        <h2>Cause</h2>
        <${Cause} call=${call} campaign=${campaign} />
      </section>
    </div>
  </main>`;
}

function Cause({ call, campaign }) {
  if (campaign) return html`<p>The campaign <a class="breaks" href=${`#/campaigns/${campaign}`}>${campaign}</a>. A campaign does not log its many pushes; its report lists the rows.</p>`;
  if (!call) return html`<p>Unknown: the function's call has not ended, or did not log this push.</p>`;
  return html`<p>${call.function}, ${call.trigger}, ${call.cold ? "cold" : "warm"}, ${call.durationMs} ms, request <code>${call.requestId}</code>${call.error && html` <${Badge} kind="refused">${call.error}<//>`}</p>
    <details><summary>Trigger payload</summary><pre tabindex="0">${pretty(call.payload)}</pre><${Copy} label="Copy" text=${call.payload} /></details>
    <details open><summary>Log lines</summary><pre tabindex="0" class="log">${call.log.join("\n")}</pre></details>`;
}

const after = (first, attempt) => {
  const milliseconds = new Date(attempt.receivedAt) - new Date(first.receivedAt);
  return milliseconds ? `+${milliseconds} ms` : "";
};
