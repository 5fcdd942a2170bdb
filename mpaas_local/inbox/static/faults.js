// Injects faults into the sandbox: a kind of fault, and the requests that it affects.
import { html, useState } from "./vendor/preact-htm.js";
import { api, query, useChanges } from "./api.js";
import { Badge, Failure, clock, plural } from "./words.js";

const KINDS = {
  throttling: { title: "Throttling (HTTP 400, rejected for load)", fields: { retryAfter: "Retry-After, seconds" } },
  serviceUnavailable: { title: "503 Service Unavailable", fields: { retryAfter: "Retry-After, seconds" }, accept: true },
  internalError: { title: "500 Internal Error", accept: true },
  result: { title: "Failing result code", fields: { code: "ResultCode" }, start: { code: "8011" }, accept: true },
  delay: { title: "Late response", fields: { milliseconds: "Milliseconds" }, start: { milliseconds: "2000" }, accept: true },
  resetBeforeRead: { title: "Reset before the request is read" },
  resetAfterRead: { title: "Reset after the request is read", accept: true },
  cutBody: { title: "Truncated response", accept: true },
  notJson: { title: "Response that is not JSON", accept: true },
};
const TEXTS = ["code", "target"];

export function Faults() {
  const [active, setActive] = useState([]);
  const [latest, setLatest] = useState([]);
  const [values, setValues] = useState({ kind: "throttling", how: "next", next: "1", rate: "0.2", accept: "" });
  const [error, setError] = useState("");
  const refresh = async () => {
    setActive((await api("/api/faults")).faults);
    setLatest((await api(`/api/pushes?${query({ limit: 30 })}`)).pushes);
  };
  useChanges(["faults", "pushes"], () => refresh().catch((failure) => setError(failure.message)));
  const kind = KINDS[values.kind];
  const set = (name) => (event) => setValues({ ...values, [name]: event.target.value });
  const inject = async (event) => {
    event.preventDefault();
    const body = { kind: values.kind, [values.how]: Number(values[values.how]) };
    for (const name of Object.keys(kind.fields || {})) {
      const text = values[name] ?? (kind.start || {})[name] ?? "";
      if (text !== "") body[name] = TEXTS.includes(name) ? text : Number(text);
    }
    if (kind.accept && values.accept) body.accept = values.accept === "yes";
    if (values.target && values.kind !== "resetBeforeRead") body.match = { target: values.target };
    try {
      await api("/api/faults", { method: "POST", body });
      setError("");
      await refresh();
    } catch (failure) {
      setError(failure.message);
    }
  };
  const clear = () => api("/api/faults", { method: "DELETE" }).then(refresh);
  return html`<main class="container-fluid" id="main">
    <h1>Faults</h1>
    <div class="columns">
      <form onSubmit=${inject} aria-label="Inject a fault">
        <h2>Inject a fault</h2>
        <label for="kind">Kind</label>
        <select id="kind" value=${values.kind} onChange=${set("kind")}>${Object.entries(KINDS).map(([name, described]) => html`<option value=${name}>${described.title}</option>`)}</select>
        ${Object.entries(kind.fields || {}).map(([name, label]) => html`<label for=${name} key=${name}>${label}</label>
          <input id=${name} value=${values[name] ?? (kind.start || {})[name] ?? ""} onInput=${set(name)} />`)}
        ${kind.accept && html`<label for="accept">Is the push still accepted?</label>
          <select id="accept" value=${values.accept} onChange=${set("accept")}><option value="">default for this fault</option><option value="yes">yes: only the response is lost</option><option value="no">no</option></select>`}
        <fieldset><legend>Affected requests</legend>
          <label><input type="radio" name="how" value="next" checked=${values.how === "next"} onChange=${set("how")} /> the next n</label>
          <label><input type="radio" name="how" value="rate" checked=${values.how === "rate"} onChange=${set("how")} /> at random</label>
          ${values.how === "next" ? html`<input type="number" min="1" aria-label="How many requests" value=${values.next} onInput=${set("next")} />`
            : html`<input type="number" min="0" max="1" step="any" aria-label="Probability, 0 to 1" value=${values.rate} onInput=${set("rate")} />`}
          <input type="text" aria-label="Only to this target" placeholder="only to this target (optional)" value=${values.target ?? ""} onInput=${set("target")} />
        </fieldset>
        <button type="submit">Inject</button>
        <${Failure} error=${error} />
      </form>
      <section>
        <h2>Active faults</h2>
        ${active.length === 0 ? html`<p>None: the sandbox responds normally.</p>` : html`<ul class="standing">${active.map((fault) => html`<li key=${fault.id}>
          <b>${(KINDS[fault.kind] || {}).title || fault.kind}</b> ${fault.rate !== undefined ? `with probability ${fault.rate}` : `${fault.remaining} more`}, ${plural(fault.struck, "request")} affected${fault.match && ` · ${JSON.stringify(fault.match)}`}</li>`)}</ul>
          <button type="button" class="secondary" onClick=${clear}>Cancel all</button>`}
        <h2>Latest requests</h2>
        <ol class="timeline live">${latest.map((push) => html`<li key=${push.seq}><time datetime=${push.receivedAt}>${clock(push.receivedAt)}</time>
          <a href=${`#/push/${push.seq}`}>${push.title || "(no title)"}</a> <${Badge} kind=${push.outcome}>${push.outcome}${push.outcome !== "accepted" && push.code ? ` ${push.code}` : ""}<//>
          ${push.fault && html` <${Badge} kind="fault">${push.fault}<//>`}</li>`)}</ol>
      </section>
    </div>
  </main>`;
}
