// Ordering faults of the sandbox: which kind, and for which requests.
import { html, useState } from "./vendor/preact-htm.js";
import { api, query, useChanges } from "./api.js";
import { Badge, Failure, clock } from "./words.js";

const KINDS = {
  throttling: { title: "Throttling (HTTP 400, rejected for load)", fields: { retryAfter: "Retry-After, seconds" } },
  serviceUnavailable: { title: "503 Service Unavailable", fields: { retryAfter: "Retry-After, seconds" }, accept: true },
  internalError: { title: "500 Internal Error", accept: true },
  result: { title: "Failing result code", fields: { code: "ResultCode" }, start: { code: "8011" }, accept: true },
  delay: { title: "Late response", fields: { milliseconds: "Milliseconds" }, start: { milliseconds: "2000" }, accept: true },
  resetBeforeRead: { title: "Reset before the request is read" },
  resetAfterRead: { title: "Reset after the request is read", accept: true },
  cutBody: { title: "Response cut in the middle", accept: true },
  notJson: { title: "Response that is not JSON", accept: true },
};
const TEXTS = ["code", "target"];

export function Faults() {
  const [active, setActive] = useState([]);
  const [struck, setStruck] = useState([]);
  const [values, setValues] = useState({ kind: "throttling", how: "next", next: "1", rate: "0.2", accept: "" });
  const [error, setError] = useState("");
  const refresh = async () => {
    setActive((await api("/api/faults")).faults);
    setStruck((await api(`/api/pushes?${query({ limit: 30 })}`)).pushes);
  };
  useChanges(["faults", "pushes"], () => refresh().catch((failure) => setError(failure.message)));
  const kind = KINDS[values.kind];
  const set = (name) => (event) => setValues({ ...values, [name]: event.target.value });
  const order = async (event) => {
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
      <form onSubmit=${order} aria-label="Order a fault">
        <h2>Order a fault</h2>
        <label for="kind">Kind</label>
        <select id="kind" value=${values.kind} onChange=${set("kind")}>${Object.entries(KINDS).map(([name, each]) => html`<option value=${name}>${each.title}</option>`)}</select>
        ${Object.entries(kind.fields || {}).map(([name, label]) => html`<label for=${name} key=${name}>${label}</label>
          <input id=${name} value=${values[name] ?? (kind.start || {})[name] ?? ""} onInput=${set(name)} />`)}
        ${kind.accept && html`<label for="accept">Is the push accepted nevertheless?</label>
          <select id="accept" value=${values.accept} onChange=${set("accept")}><option value="">default of this fault</option><option value="yes">yes: only the response is lost</option><option value="no">no</option></select>`}
        <fieldset><legend>Which requests</legend>
          <label><input type="radio" name="how" value="next" checked=${values.how === "next"} onChange=${set("how")} /> the next n</label>
          <label><input type="radio" name="how" value="rate" checked=${values.how === "rate"} onChange=${set("how")} /> at random</label>
          ${values.how === "next" ? html`<input type="number" min="1" aria-label="How many requests" value=${values.next} onInput=${set("next")} />`
            : html`<input type="number" min="0" max="1" step="any" aria-label="Probability, 0 to 1" value=${values.rate} onInput=${set("rate")} />`}
          <input type="text" aria-label="Only to this target" placeholder="only to this target (optional)" value=${values.target ?? ""} onInput=${set("target")} />
        </fieldset>
        <button type="submit">Order</button>
        <${Failure} error=${error} />
      </form>
      <section>
        <h2>Active faults</h2>
        ${active.length === 0 ? html`<p>None: the sandbox responds normally.</p>` : html`<ul class="standing">${active.map((each) => html`<li key=${each.id}>
          <b>${(KINDS[each.kind] || {}).title || each.kind}</b> ${each.rate !== undefined ? `with probability ${each.rate}` : `${each.remaining} more`}, struck ${each.struck}${each.match && ` · ${JSON.stringify(each.match)}`}</li>`)}</ul>
          <button type="button" class="secondary" onClick=${clear}>Cancel all</button>`}
        <h2>Latest requests</h2>
        <ol class="timeline live">${struck.map((each) => html`<li key=${each.seq}><time datetime=${each.receivedAt}>${clock(each.receivedAt)}</time>
          <a href=${`#/push/${each.seq}`}>${each.title || "(no title)"}</a> <${Badge} kind=${each.outcome}>${each.outcome}${each.outcome !== "accepted" && each.code ? ` ${each.code}` : ""}<//>
          ${each.fault && html` <${Badge} kind="fault">${each.fault}<//>`}</li>`)}</ol>
      </section>
    </div>
  </main>`;
}
