// A form built from the JSON schema of a message; the HTTP function's dry run validates it at every pause.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { api } from "./api.js";
import { Previews } from "./preview.js";
import { Answer, Failure, plural } from "./words.js";

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
    const waiting = setTimeout(() => judge(++turn.current), 250);
    return () => clearTimeout(waiting);
  }, [values, schema]);

  const message = () => messageOf(values, schema);
  const judge = async (mine) => {
    try {
      const order = { body: message(), dryRun: true };
      const [dry, seen] = await Promise.all([api("/api/send", { method: "POST", body: order }), api("/api/shown", { method: "POST", body: order.body })]);
      if (mine !== turn.current) return;
      setFaults(dry.answer.errors || []);
      setWarnings(dry.answer.warnings || []);
      setVerdict(dry.status === 200 ? `valid: ${(dry.answer.requests || []).length} request(s) to mPaaS` : dry.answer.title || `HTTP ${dry.status}`);
      setShown(seen);
      setError("");
    } catch (failure) {
      if (mine === turn.current) setError(failure.message);
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
  // Decided once: it must not close while the user is typing in it.
  opened.current ??= names.some((name) => !FIRST.includes(name) && values[name]);
  const placed = faults.filter((each) => !names.some((name) => belongs(each, name)));
  return html`<main class="container-fluid" id="main">
    <h1>Compose</h1>
    <div class="columns">
      <form onSubmit=${send("http")} aria-label="Message">
        ${FIRST.map(field)}
        <details open=${opened.current}><summary>Other parameters</summary>${names.filter((name) => !FIRST.includes(name)).map(field)}</details>
        <div class="verdict"><p role="status" class=${faults.length ? "failure" : "told"}>${verdict}</p>
        ${placed.length > 0 && html`<ul class="faults">${placed.map((each) => html`<li>${each.field} ${each.message}</li>`)}</ul>`}
        <div class="actions">
          <button type="submit" disabled=${busy}>Send through the HTTP function</button>
          <button type="button" class="secondary" disabled=${busy} onClick=${send("timer")}>Send as a timer's payload</button>
          <button type="button" class="secondary" disabled=${busy} onClick=${send("queue")}>Send to the queue</button>
        </div><${Failure} error=${error} /><${Answer} sent=${sent} /></div>
        <details><summary>The message as JSON</summary><pre tabindex="0">${JSON.stringify(message(), null, 2)}</pre></details>
      </form>
      <section aria-label="Preview" class="stays" tabindex="0"><h2>Preview</h2><${Previews} shown=${shown} />
        ${warnings.length > 0 && html`<details><summary>${plural(warnings.length, "warning")} from the function</summary><ul>${warnings.map((each) => html`<li>${each.message}</li>`)}</ul></details>`}</section>
    </div>
  </main>`;
}

const belongs = (fault, name) => fault.field === name || fault.field.startsWith(`${name}.`) || (name === "targets" && fault.field.startsWith("targetMsgkey"));

function Field({ name, schema, root, values, set, required, faults, warnings, prefix = "" }) {
  const kind = kindOf(schema, root);
  const id = `${prefix}${name}`;
  const mine = faults.filter((each) => belongs(each, id));
  const notes = warnings.filter((each) => !each.channel && belongs(each, id));
  const value = values[id] ?? "";
  if (kind.type === "fields") {
    return html`<fieldset><legend>${name}</legend><small><${Said} faults=${faults.filter((each) => each.field === id)} notes=${warnings.filter((each) => each.field === id)} />${schema.description}</small>
      ${Object.entries(kind.properties).map(([part, inner]) => html`<${Field} key=${part} name=${part} schema=${inner} root=${root} values=${values} set=${set} faults=${faults} warnings=${warnings} prefix=${`${id}.`} />`)}</fieldset>`;
  }
  const help = `${id}-help`;
  const attributes = { id, value, "aria-describedby": help, "aria-invalid": mine.length ? "true" : undefined, onInput: set(id) };
  const example = schema.examples ? JSON.stringify(schema.examples[0]).replace(/^"|"$/g, "") : "";
  return html`<div class="field"><label for=${id}>${name}${required && html` <span class="need">required</span>`}</label>
    ${kind.type === "choice" && html`<select ...${attributes} onChange=${set(id)}>${!required && html`<option value="">not sent</option>`}${kind.values.map((each) => html`<option value=${String(each)}>${nameOf(schema, each)}</option>`)}</select>`}
    ${kind.type === "moment" && html`<input type="datetime-local" step="1" ...${attributes} />`}
    ${kind.type === "number" && html`<input type="number" placeholder=${example} ...${attributes} />`}
    ${kind.type === "list" && html`<textarea rows="2" placeholder="one per line" ...${attributes}></textarea>`}
    ${kind.type === "json" && html`<textarea rows="2" class="code" placeholder=${example} ...${attributes}></textarea>`}
    ${kind.type === "text" && (name === "content" ? html`<textarea rows="3" ...${attributes}></textarea>` : html`<input type="text" placeholder=${example} ...${attributes} />`)}
    <small id=${help}><${Said} faults=${mine} notes=${notes} />${kind.type === "moment" ? "In China time (+08:00). " : ""}${schema.description}${kind.type === "moment" ? "" : limitsOf(schema)}</small></div>`;
}

// The errors and warnings of a field.
const Said = ({ faults, notes }) => html`${faults.length > 0 && html`<b class="failure">${faults.map((each) => each.message).join("; ")}</b> `}
  ${notes.length > 0 && html`<b class="odd">${notes.map((each) => each.message).join("; ")}</b> `}`;

// Limits of the schema, which the description may not mention.
function limitsOf(schema) {
  const given = schema.anyOf ? schema.anyOf.find((each) => each.type !== "null") : schema;
  const known = { minimum: "at least", maximum: "at most", maxProperties: "entries at most", minItems: "entries at least", pattern: "pattern" };
  const told = Object.entries(known).filter(([key]) => typeof given[key] === "string" || given[key] < 2 ** 53);
  return told.length ? ` Limits: ${told.map(([key, words]) => `${words} ${given[key]}`).join(", ")}.` : "";
}

// "3 (user)" from "… One of 1 (Android device), 2 (iOS device), 3 (user)".
function nameOf(schema, value) {
  const found = (schema.description || "").match(new RegExp(`(?:^|[ "])${value}"? \\(([^)]*)\\)`));
  return found ? `${value} (${found[1]})` : String(value);
}

function kindOf(schema, root) {
  const given = schema.anyOf ? schema.anyOf.find((each) => each.type !== "null") : schema;
  const form = given.$ref ? root.$defs[given.$ref.split("/").pop()] : given;
  if (form.enum) return { type: "choice", values: form.enum };
  if (form.properties) return { type: "fields", properties: form.properties };
  if (form.type === "integer") return { type: /Unix time/.test(schema.description) ? "moment" : "number" };
  if (form.type === "array") return { type: "list", numbers: form.items && form.items.type === "integer" };
  return { type: form.type === "object" ? "json" : "text" };
}

// Form values are strings; the message has the types of the schema. What cannot be converted is sent unchanged, for the function to judge.
export function messageOf(values, schema, properties = schema.properties, prefix = "") {
  const message = {};
  for (const [name, each] of Object.entries(properties)) {
    const kind = kindOf(each, schema);
    const text = values[`${prefix}${name}`] ?? "";
    if (kind.type === "fields") {
      const inner = LEFT_OUT.includes(name) ? {} : messageOf(values, schema, kind.properties, `${prefix}${name}.`);
      if (Object.keys(inner).length) message[name] = inner;
    } else if (text !== "") message[name] = read(text, kind, each);
    // Even a daily loop needs its list of days, which is empty.
    else if (name === "circleValue" && values[`${prefix}circleType`]) message[name] = [];
  }
  return message;
}

function read(text, kind, schema) {
  if (kind.type === "choice") return kind.values.find((each) => String(each) === text) ?? text;
  if (kind.type === "number") return Number.isFinite(Number(text)) ? Number(text) : text;
  if (kind.type === "moment") {
    const milliseconds = Date.parse(`${text.length === 16 ? `${text}:00` : text}+08:00`);
    return /milliseconds/.test(schema.description) ? milliseconds : Math.floor(milliseconds / 1000);
  }
  if (kind.type === "list") {
    const lines = text.split(kind.numbers ? /[\s,，]+/ : /[\n,]/).map((each) => each.trim()).filter(Boolean);
    return kind.numbers ? lines.map((each) => (/^-?\d+$/.test(each) ? Number(each) : each)) : lines;
  }
  // JSON is sent as text: parsing it here would round large numbers and hide duplicate keys.
  return text;
}
