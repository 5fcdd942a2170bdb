// A form generated from the JSON schema of a message; the HTTP function's dry run validates it at every typing pause.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { api } from "./api.js";
import { Previews } from "./preview.js";
import { SendResult, Failure, plural } from "./words.js";

const FIRST = ["taskName", "title", "content", "deliveryType", "targets", "expiredSeconds", "pushStyle", "uri", "strategyType", "strategyContent"];
const LEFT_OUT = ["StrategyContent"];
const START = { taskName: "hello", title: "Hello", content: "From the inbox.", deliveryType: "3", targets: "user-1", expiredSeconds: "600", pushStyle: "0" };

export function Compose({ kept }) {
  const [schema, setSchema] = useState(null);
  const [values, setValues] = useState(kept.values || START);
  const [faults, setFaults] = useState([]);
  const [warnings, setWarnings] = useState([]);
  const [shown, setShown] = useState(null);
  const [sent, setSent] = useState(null);
  const [error, setError] = useState("");
  const [verdict, setVerdict] = useState("");
  const [busy, setBusy] = useState(false);
  const turn = useRef(0);
  const opened = useRef(null);
  kept.values = values;
  useEffect(() => {
    api("/api/schema").then(setSchema, (failure) => setError(failure.message));
  }, []);
  useEffect(() => {
    if (!schema) return undefined;
    const timer = setTimeout(() => validate(++turn.current), 250);
    return () => clearTimeout(timer);
  }, [values, schema]);

  const message = () => messageOf(values, schema);
  const validate = async (own) => {
    try {
      const order = { body: message(), dryRun: true };
      const [dryRun, view] = await Promise.all([api("/api/send", { method: "POST", body: order }), api("/api/shown", { method: "POST", body: order.body })]);
      if (own !== turn.current) return;
      setFaults(dryRun.answer.errors || []);
      setWarnings(dryRun.answer.warnings || []);
      setVerdict(dryRun.status === 200 ? `valid: ${plural((dryRun.answer.requests || []).length, "request")} to mPaaS` : dryRun.answer.title || `HTTP ${dryRun.status}`);
      setShown(view);
      setError("");
    } catch (failure) {
      if (own === turn.current) setError(failure.message);
    }
  };
  const send = (via) => async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      setSent(await api("/api/send", { method: "POST", body: { body: message(), via } }));
      setError("");
    } catch (failure) {
      setSent(null);
      setError(failure.message);
    }
    setBusy(false);
  };
  const set = (name) => (event) => setValues({ ...values, [name]: event.target.value });
  if (!schema) return html`<main class="container-fluid" id="main"><h1>Compose</h1><${Failure} error=${error} /></main>`;
  const names = Object.keys(schema.properties).filter((name) => !LEFT_OUT.includes(name));
  const field = (name) => html`<${Field} key=${name} name=${name} schema=${schema.properties[name]} root=${schema} values=${values} set=${set}
    required=${schema.required.includes(name)} faults=${faults} warnings=${warnings} />`;
  // Decided once: the section must not close while the user is typing in it.
  opened.current ??= names.some((name) => !FIRST.includes(name) && values[name]);
  const otherFaults = faults.filter((fault) => !names.some((name) => belongs(fault, name)));
  return html`<main class="container-fluid" id="main">
    <h1>Compose</h1>
    <div class="columns">
      <form onSubmit=${send("http")} aria-label="Message">
        ${FIRST.map(field)}
        <details open=${opened.current}><summary>Other parameters</summary>${names.filter((name) => !FIRST.includes(name)).map(field)}</details>
        <div class="verdict"><p role="status" class=${faults.length ? "failure" : "good"}>${verdict}</p>
        ${otherFaults.length > 0 && html`<ul class="faults">${otherFaults.map((fault) => html`<li>${fault.field} ${fault.message}</li>`)}</ul>`}
        <div class="actions">
          <button type="submit" disabled=${busy}>Send through the HTTP function</button>
          <button type="button" class="secondary" disabled=${busy} onClick=${send("timer")}>Send as a timer's payload</button>
          <button type="button" class="secondary" disabled=${busy} onClick=${send("queue")}>Send to the queue</button>
        </div><${Failure} error=${error} /><${SendResult} sent=${sent} /></div>
        <details><summary>The message as JSON</summary><pre tabindex="0">${JSON.stringify(message(), null, 2)}</pre></details>
      </form>
      <section aria-label="Preview" class="stays" tabindex="0"><h2>Preview</h2><${Previews} shown=${shown} />
        ${warnings.length > 0 && html`<details><summary>${plural(warnings.length, "warning")} from the function</summary><ul>${warnings.map((warning) => html`<li>${warning.message}</li>`)}</ul></details>`}</section>
    </div>
  </main>`;
}

const belongs = (fault, name) => fault.field === name || fault.field.startsWith(`${name}.`) || (name === "targets" && fault.field.startsWith("targetMsgkey"));

function Field({ name, schema, root, values, set, required, faults, warnings, prefix = "" }) {
  const kind = kindOf(schema, root);
  const id = `${prefix}${name}`;
  const ownFaults = faults.filter((fault) => belongs(fault, id));
  const notes = warnings.filter((warning) => !warning.channel && belongs(warning, id));
  const value = values[id] ?? "";
  if (kind.type === "fields") {
    return html`<fieldset><legend>${name}</legend><small><${FieldMessages} faults=${faults.filter((fault) => fault.field === id)} notes=${warnings.filter((warning) => warning.field === id)} />${schema.description}</small>
      ${Object.entries(kind.properties).map(([part, inner]) => html`<${Field} key=${part} name=${part} schema=${inner} root=${root} values=${values} set=${set} faults=${faults} warnings=${warnings} prefix=${`${id}.`} />`)}</fieldset>`;
  }
  const help = `${id}-help`;
  const attributes = { id, value, "aria-describedby": help, "aria-invalid": ownFaults.length ? "true" : undefined, onInput: set(id) };
  const example = schema.examples ? JSON.stringify(schema.examples[0]).replace(/^"|"$/g, "") : "";
  return html`<div class="field"><label for=${id}>${name}${required && html` <span class="need">required</span>`}</label>
    ${kind.type === "choice" && html`<select ...${attributes} onChange=${set(id)}>${!required && html`<option value="">not sent</option>`}${kind.values.map((option) => html`<option value=${String(option)}>${nameOf(schema, option)}</option>`)}</select>`}
    ${kind.type === "moment" && html`<input type="datetime-local" step="1" ...${attributes} />`}
    ${kind.type === "number" && html`<input type="number" placeholder=${example} ...${attributes} />`}
    ${kind.type === "list" && html`<textarea rows="2" placeholder="one per line" ...${attributes}></textarea>`}
    ${kind.type === "json" && html`<textarea rows="2" class="code" placeholder=${example} ...${attributes}></textarea>`}
    ${kind.type === "text" && (name === "content" ? html`<textarea rows="3" ...${attributes}></textarea>` : html`<input type="text" placeholder=${example} ...${attributes} />`)}
    <small id=${help}><${FieldMessages} faults=${ownFaults} notes=${notes} />${kind.type === "moment" ? "In China time (+08:00). " : ""}${schema.description}${kind.type === "moment" ? "" : limitsOf(schema)}</small></div>`;
}

// The errors and warnings of a field.
const FieldMessages = ({ faults, notes }) => html`${faults.length > 0 && html`<b class="failure">${faults.map((fault) => fault.message).join("; ")}</b> `}
  ${notes.length > 0 && html`<b class="odd">${notes.map((note) => note.message).join("; ")}</b> `}`;

// The limits in the schema, which the description may omit.
function limitsOf(schema) {
  const type = typeOf(schema);
  const labels = { minimum: "at least", maximum: "at most", maxProperties: "entries at most", minItems: "entries at least", pattern: "pattern" };
  const limits = Object.entries(labels).filter(([key]) => typeof type[key] === "string" || type[key] < 2 ** 53);
  return limits.length ? ` Limits: ${limits.map(([key, label]) => `${label} ${type[key]}`).join(", ")}.` : "";
}

// "3 (user)" from "… One of 1 (Android device), 2 (iOS device), 3 (user)".
function nameOf(schema, value) {
  const match = (schema.description || "").match(new RegExp(`(?:^|[ "])${value}"? \\(([^)]*)\\)`));
  return match ? `${value} (${match[1]})` : String(value);
}

// The schema of a value that is not null.
const typeOf = (schema) => (schema.anyOf ? schema.anyOf.find((type) => type.type !== "null") : schema);

function kindOf(schema, root) {
  const type = typeOf(schema);
  const form = type.$ref ? root.$defs[type.$ref.split("/").pop()] : type;
  if (form.enum) return { type: "choice", values: form.enum };
  if (form.properties) return { type: "fields", properties: form.properties };
  if (form.type === "integer") return { type: /Unix time/.test(schema.description) ? "moment" : "number" };
  if (form.type === "array") return { type: "list", numbers: form.items && form.items.type === "integer" };
  return { type: form.type === "object" ? "json" : "text" };
}

// Form values are strings; the message has the types of the schema. Values that cannot be converted are sent unchanged, and the function reports them.
export function messageOf(values, schema, properties = schema.properties, prefix = "") {
  const message = {};
  for (const [name, property] of Object.entries(properties)) {
    const kind = kindOf(property, schema);
    const text = values[`${prefix}${name}`] ?? "";
    if (kind.type === "fields") {
      const inner = LEFT_OUT.includes(name) ? {} : messageOf(values, schema, kind.properties, `${prefix}${name}.`);
      if (Object.keys(inner).length) message[name] = inner;
    } else if (text !== "") message[name] = read(text, kind, property);
    // Even a daily loop needs its list of days, which is empty.
    else if (name === "circleValue" && values[`${prefix}circleType`]) message[name] = [];
  }
  return message;
}

function read(text, kind, schema) {
  if (kind.type === "choice") return kind.values.find((option) => String(option) === text) ?? text;
  if (kind.type === "number") return Number.isFinite(Number(text)) ? Number(text) : text;
  if (kind.type === "moment") {
    const milliseconds = Date.parse(`${text.length === 16 ? `${text}:00` : text}+08:00`);
    return /milliseconds/.test(schema.description) ? milliseconds : Math.floor(milliseconds / 1000);
  }
  if (kind.type === "list") {
    const lines = text.split(kind.numbers ? /[\s,，]+/ : /[\n,]/).map((line) => line.trim()).filter(Boolean);
    return kind.numbers ? lines.map((line) => (/^-?\d+$/.test(line) ? Number(line) : line)) : lines;
  }
  // JSON is sent as text: parsing it here would round large numbers and hide duplicate keys.
  return text;
}
