// A new campaign: the user drops an audience and writes the message. Rows are rendered at every typing pause; all rows
// can be checked before the start.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { api, jsonLines, query, upload } from "./api.js";
import { Samples } from "./campaigns.js";
import { Pace } from "./pace.js";
import { Badge, DELIVERIES, Refusal, duration, plural, thousands } from "./words.js";

const DOCUMENT = { campaign: "", message: { taskName: "campaign", title: "Hello", content: "From the inbox.", deliveryType: 3, expiredSeconds: 86400 }, pace: 500 };
const WINDOW = { from: "08:00", to: "21:00", zone: "Asia/Shanghai" };
const FIELDS = ["taskName", "title", "content", "deliveryType", "expiredSeconds"];
const CONFLICT = 409;
const FIRST_COLUMN = "column_1"; // in a file that got its header here
const DRAFT = "campaign"; // key of the unsaved campaign in the tab's storage
let received = []; // the latest dropped files that have been read

// The campaign that was being written when the page was reloaded.
export const readDraft = () => JSON.parse(sessionStorage.getItem(DRAFT) || "{}");

// `dropped` are files that were dropped on any page.
export function NewCampaign({ kept, dropped }) {
  const [document, setDocument] = useState(kept.document || DOCUMENT);
  const [audience, setAudience] = useState(kept.audience || null);
  const [sending, setSending] = useState(null); // the share of the file that is uploaded
  const [preview, setPreview] = useState(null);
  const [refused, setRefused] = useState(null);
  const [checked, setChecked] = useState(kept.checked || null);
  const [failed, setFailed] = useState(null); // the failed step, and its error
  const [share, setShare] = useState(0); // the share of rows that have been checked
  const [busy, setBusy] = useState("");
  const [largest, setLargest] = useState(Infinity);
  const turn = useRef(0);
  const checking = useRef();
  const started = useRef(false);
  const latest = useRef();
  const sent = useRef(null); // the audience's file, until the page is reloaded
  latest.current = document;
  if (!started.current) Object.assign(kept, { document, audience, checked });
  // useEffect would run only after the next paint: a reload right after a key press would lose it.
  useLayoutEffect(() => {
    if (!started.current) sessionStorage.setItem(DRAFT, JSON.stringify(kept));
  }, [document, audience, checked]);

  useEffect(() => {
    api("/api/campaigns").then((listed) => setLargest(listed.largestUpload), (error) => setFailed({ doing: "read", error }));
    return () => checking.current?.abort();
  }, []);
  useEffect(() => {
    if (dropped === received) return;
    received = dropped;
    if (dropped.length > 0) guarded("upload", () => receive(dropped))();
  }, [dropped]);
  useEffect(() => {
    setFailed((now) => (now?.doing === "start" || now?.doing === "check" ? null : now)); // it concerned an earlier document
    if (!document.audience) return undefined;
    const timer = setTimeout(() => render(++turn.current), 300);
    return () => clearTimeout(timer);
  }, [document]);

  const render = async (own) => {
    try {
      const result = await api("/api/campaigns/preview", { method: "POST", body: document });
      if (own !== turn.current) return;
      setPreview(result);
      setRefused(null);
    } catch (failure) {
      if (own === turn.current) setRefused(failure);
    }
  };
  const guarded = (doing, then) => async () => {
    setBusy(doing);
    try {
      await then();
      setFailed(null);
    } catch (error) {
      setFailed(error.name === "AbortError" ? null : { doing, error });
    }
    setBusy("");
  };
  const receive = async (files) => {
    for (const file of files) await (/\.(json|ya?ml)$/i.test(file.name) ? read(await file.text()) : send(file));
  };
  const send = async (file) => {
    if (file.size > largest) throw new Error(`${file.name} is larger than the ${largest / 2 ** 30} GiB that the page accepts: upload it with python -m mpaas_push campaign start`);
    setSending(0);
    try {
      const uploaded = await upload(`/api/audiences?${query({ name: file.name })}`, file, setSending);
      sent.current = file;
      setAudience(uploaded);
      setDocument(withAudience(latest.current, uploaded));
    } finally {
      setSending(null);
    }
  };
  const read = async (text) => {
    const { document: written } = await api("/api/campaigns/document", { method: "POST", text });
    setDocument(audience ? { ...written, audience: { ...written.audience, ...audience.audience, ...(written.audience?.target ? { target: written.audience.target } : {}) } } : written);
  };
  const set = (names, value) => setDocument(changed(latest.current, names, value));
  const text = (names) => (event) => set(names, event.target.value);
  const number = (names) => (event) => set(names, event.target.value === "" ? undefined : Number(event.target.value));
  const check = guarded("check", async () => {
    checking.current = new AbortController();
    setShare(0);
    for await (const step of jsonLines("/api/campaigns/check", { body: document, signal: checking.current.signal })) {
      setShare(step.share);
      if (step.passed !== undefined) setChecked({ ...step, of: contentOf(document) });
    }
  });
  const start = guarded("start", async () => {
    if (!current?.passed && !confirm("Start without checking all rows? Rows that cannot be sent are counted and reported as invalid.")) return;
    const { campaign } = await api("/api/campaigns", { method: "POST", body: document });
    started.current = true;
    for (const name of Object.keys(kept)) delete kept[name];
    sessionStorage.removeItem(DRAFT);
    location.hash = `#/campaigns/${campaign}`;
  });
  const asPlainIds = () => {
    const { target, delimiter, ...where } = document.audience;
    setAudience({ ...audience, columns: [], faults: [], rows: [audience.columns, ...audience.rows], hasHeader: true, audience: { ...where, format: "ids" } });
    setDocument({ ...document, audience: { ...where, format: "ids" } });
  };
  const firstLineIsRow = guarded("upload", async () => send(await withHeader(sent.current, audience)));
  const current = checked && checked.of === contentOf(document) ? checked : null;
  const { message = {}, window } = document;
  const isTaken = failed?.doing === "start" && failed.error.status === CONFLICT;
  const errors = [...(refused?.errors || []), ...(isTaken ? [{ field: "campaign", message: "is already in use: choose another id" }] : [])];
  const otherFields = Object.keys(message).filter((name) => !FIELDS.includes(name));
  const field = (names, label, control) => html`<${Field} id=${names.join(".")} label=${label} errors=${errors} control=${control} />`;
  const columns = audience?.columns || [];
  const warnings = refused || !preview ? [] : preview.warnings;
  const doubts = audience?.hasHeader === false ? [`The first line, ${columns[0]}, looks like an id, but is read as the name of the column and would get no push.`] : warnings.filter(isOfAudience).map((warning) => warning.message);
  const others = warnings.filter((warning) => !isOfAudience(warning));

  return html`<main class="container-fluid" id="main">
    <p><a href="#/campaigns">← all campaigns</a></p>
    <h1>New campaign</h1>
    <section class="drop" aria-label="Audience">
      <input id="audience-file" type="file" multiple accept=".csv,.tsv,.txt,.jsonl,.ndjson,.json,.yaml,.yml" disabled=${busy === "upload"}
        onChange=${(event) => { const files = [...event.target.files]; event.target.value = ""; guarded("upload", () => receive(files))(); }} />
      <label for="audience-file" class="choose">Choose a file</label> or drop it anywhere on this page: a CSV with the audience. A campaign in JSON or YAML fills in the form.
      ${sending !== null && html`<progress value=${sending} max="1" aria-label="Upload"></progress>`}
      ${audience && html`<${FirstRows} audience=${audience} target=${document.audience?.target} />
        ${columns.length > 1 && columns[0] !== FIRST_COLUMN && sent.current && /\.(csv|tsv)$/i.test(audience.name) && html`<button type="button" class="secondary outline small" disabled=${Boolean(busy)} onClick=${firstLineIsRow}>The first line is a row, not a header</button>`}`}
    </section>
    ${["upload", "read"].includes(failed?.doing) && html`<${Refusal} error=${failed.error} />`}
    ${doubts.length > 0 && html`<div class="ask" role="alert">${doubts.map((doubt) => html`<span>${doubt}</span>`)}
      ${columns.length === 1 && html`<button type="button" class="secondary small" onClick=${asPlainIds}>Read the file as plain ids</button>`}</div>`}
    ${document.audience && html`<div class="columns">
      <form onSubmit=${(event) => { event.preventDefault(); check(); }} aria-label="Campaign">
        ${field(["campaign"], "Campaign id", (attributes) => html`<input type="text" value=${document.campaign ?? ""} onInput=${text(["campaign"])} ...${attributes} />`)}
        ${columns.length > 0 && field(["audience", "target"], "Target column", (attributes) => html`<select value=${document.audience.target ?? ""} onChange=${text(["audience", "target"])} ...${attributes}>${columns.map((column) => html`<option value=${column}>${column}</option>`)}</select>`)}
        <${Texts} message=${message} columns=${columns} field=${field} set=${set} />
        <div class="pair">
          ${field(["message", "deliveryType"], "Targets are", (attributes) => html`<select value=${String(message.deliveryType)} onChange=${number(["message", "deliveryType"])} ...${attributes}>${Object.entries(DELIVERIES).map(([value, name]) => html`<option value=${value}>${name}</option>`)}</select>`)}
          ${field(["message", "expiredSeconds"], "Valid for, seconds", (attributes) => html`<input type="number" value=${message.expiredSeconds ?? ""} onInput=${number(["message", "expiredSeconds"])} ...${attributes} />`)}
          ${field(["message", "taskName"], "Task name", (attributes) => html`<input type="text" value=${message.taskName ?? ""} onInput=${text(["message", "taskName"])} ...${attributes} />`)}
        </div>
        <${Pace} pace=${document.pace ?? null} change=${(value) => set(["pace"], value ?? undefined)} />
        <${FieldErrors} errors=${errors} id="pace" />
        <fieldset><label><input type="checkbox" checked=${Boolean(window)} onChange=${(event) => set(["window"], event.target.checked ? WINDOW : undefined)} /> send only during certain hours of the day</label>
          ${window && html`<div class="pair">
            ${field(["window", "from"], "From", (attributes) => html`<input type="time" value=${window.from} onInput=${text(["window", "from"])} ...${attributes} />`)}
            ${field(["window", "to"], "To", (attributes) => html`<input type="time" value=${window.to} onInput=${text(["window", "to"])} ...${attributes} />`)}
            ${field(["window", "zone"], "Time zone", (attributes) => html`<input type="text" value=${window.zone ?? ""} onInput=${text(["window", "zone"])} ...${attributes} />`)}
          </div>`}
          <label><input type="checkbox" checked=${document.report === "all"} onChange=${(event) => set(["report"], event.target.checked ? "all" : undefined)} /> also list accepted rows in the report</label>
        </fieldset>
        ${(otherFields.length > 0 || document.texts || document.endsAt) && html`<p class="hint">Also in the campaign: ${[...otherFields, ...["texts", "endsAt"].filter((name) => document[name])].join(", ")}.</p>`}
        <${AsText} document=${document} use=${(written) => guarded("read", () => read(written))()} />
        <div class="verdict">
          <${Verdict} refused=${refused} preview=${preview} />
          ${busy !== "check" && html`<${Check} checked=${current} />`}
          ${["check", "start"].includes(failed?.doing) && html`<${Refusal} error=${failed.error} />`}
          ${isTaken && html`<p class="actions"><a href=${`#/campaigns/${encodeURIComponent(document.campaign)}`}>Show that campaign</a> <button type="button" class="secondary outline small" onClick=${() => set(["campaign"], nextId(document.campaign))}>Use the id ${nextId(document.campaign)}</button></p>`}
          ${busy === "check" && html`<p class="checking"><progress value=${share} max="1" aria-label="Checked rows"></progress> ${Math.floor(share * 100)}%</p>`}
          <div class="actions">
            <button type="button" class=${current?.passed ? "secondary" : ""} aria-busy=${busy === "check"} disabled=${Boolean(busy || refused || !preview)} onClick=${check}>Check all rows</button>
            ${busy === "check" && html`<button type="button" class="secondary outline" onClick=${() => checking.current.abort()}>Stop checking</button>`}
            <button type="button" class=${current?.passed ? "" : "secondary"} aria-busy=${busy === "start"} disabled=${Boolean(busy || refused || !preview)} onClick=${start}>Start</button>
          </div>
        </div>
      </form>
      <section aria-label="Samples" class="stays" tabindex="0"><h2>First and last rows</h2>${preview && !refused && html`<${Samples} samples=${preview.samples} />
        ${preview.faults.length > 0 && html`<h3>Rows that cannot be sent</h3><ul class="faults">${preview.faults.map((fault) => html`<li key=${fault.offset}>${fault.line ? `line ${thousands(fault.line)}` : `at byte ${thousands(fault.offset)}`}: ${fault.message}</li>`)}</ul>`}
        ${others.length > 0 && html`<details><summary>${plural(others.length, "warning")}</summary><ul>${others.map((warning) => html`<li>${warning.message}</li>`)}</ul></details>`}`}</section>
    </div>`}
  </main>`;
}

const isOfAudience = (warning) => warning.field.startsWith("audience");

// The content that a check covers: everything but the pace, the window and the end, which affect no row.
const contentOf = ({ pace, window, endsAt, ...content }) => JSON.stringify(content);

function changed(value, [name, ...rest], to) {
  const copy = { ...value };
  const inner = rest.length ? changed(copy[name], rest, to) : to;
  if (inner === undefined) delete copy[name];
  else copy[name] = inner;
  return copy;
}

// The document with an uploaded audience; its name and columns provide the form's first values.
function withAudience(document, uploaded) {
  const { message } = document;
  const greets = message === DOCUMENT.message && uploaded.columns.includes("name");
  return {
    ...document,
    campaign: document.campaign || idOf(uploaded.name),
    message: greets ? { ...message, title: "Hello {name}" } : message,
    audience: uploaded.audience,
  };
}

// The file with a header that names the columns column_1, column_2 and so on. A byte order mark is removed, since it
// would become part of the first row.
async function withHeader(file, { columns, audience }) {
  const [a, b, c] = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const hasMark = a === 0xef && b === 0xbb && c === 0xbf;
  const header = columns.map((_, index) => FIRST_COLUMN.replace("1", index + 1)).join(audience.delimiter || ",");
  return new File([`${header}\n`, hasMark ? file.slice(3) : file], file.name);
}

// The id with the next number, which is probably free.
function nextId(id) {
  const [, base, number = "1"] = id.match(/^(.*?)(?:-(\d{1,3}))?$/);
  return `${base.slice(0, 60)}-${Number(number) + 1}`;
}

function idOf(name) {
  const now = new Date();
  const digits = [now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes(), now.getSeconds()].map((part) => String(part).padStart(2, "0"));
  const base = name.replace(/\.\w+$/, "").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40);
  return `${base || "campaign"}-${digits[0]}${digits[1]}-${digits.slice(2).join("")}`;
}

const FirstRows = ({ audience, target }) => html`<p role="status">${audience.name}: ${thousands(audience.bytes)} bytes, in OSS. Its first rows:</p>
  <div class="scroll" tabindex="0"><table>${audience.columns.length > 0 && html`<thead><tr>${audience.columns.map((column) => html`<th>${column} ${column === target && html`<${Badge} kind="trigger">target<//>`}</th>`)}</tr></thead>`}
    <tbody>${audience.rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>
  ${audience.faults?.length > 0 && html`<ul class="faults">${audience.faults.map((fault) => html`<li>${fault}</li>`)}</ul>`}`;

const FieldErrors = ({ errors, id }) => errors.filter((error) => error.field === id || error.field.startsWith(`${id}.`)).map((error) => html`<b class="failure">${error.message} </b>`);

function Field({ id, label, errors, control }) {
  const isInvalid = errors.some((error) => error.field === id || error.field.startsWith(`${id}.`));
  return html`<div class="field"><label for=${id}>${label}</label>
    ${control({ id, "aria-invalid": isInvalid ? "true" : undefined, "aria-describedby": isInvalid ? `${id}-help` : undefined })}
    <small id=${`${id}-help`}><${FieldErrors} errors=${errors} id=${id} /></small></div>`;
}

// Title and content, and the columns that can be inserted into them.
function Texts({ message, columns, field, set }) {
  const [name, setName] = useState("title");
  const insert = (column) => () => {
    const box = globalThis.document.getElementById(`message.${name}`);
    const value = message[name] ?? "";
    const at = box.selectionStart ?? value.length;
    set(["message", name], `${value.slice(0, at)}{${column}}${value.slice(box.selectionEnd ?? at)}`);
    requestAnimationFrame(() => { box.focus(); box.setSelectionRange(at + column.length + 2, at + column.length + 2); });
  };
  const write = (event) => set(["message", event.target.id.split(".")[1]], event.target.value);
  return html`
    ${field(["message", "title"], "Title", (attributes) => html`<input type="text" value=${message.title ?? ""} onInput=${write} onFocus=${() => setName("title")} ...${attributes} />`)}
    ${field(["message", "content"], "Content", (attributes) => html`<textarea rows="3" value=${message.content ?? ""} onInput=${write} onFocus=${() => setName("content")} ...${attributes}></textarea>`)}
    ${columns.length > 0 && html`<div class="actions" role="group" aria-label=${`Insert a column into the ${name}`}><small>Insert into the ${name}:</small>${columns.map((column) => html`<button type="button" key=${column} class="secondary outline small" onClick=${insert(column)}>${`{${column}}`}</button>`)}</div>`}`;
}

// The complete document, to view or edit it, or to paste another one.
function AsText({ document, use }) {
  const [written, setWritten] = useState(null);
  const shown = JSON.stringify(document, null, 2);
  useEffect(() => setWritten(null), [shown]);
  return html`<details><summary>The campaign as JSON; edit it, or paste JSON or YAML</summary>
    <textarea class="code" rows="14" aria-label="The campaign as JSON or YAML" value=${written ?? shown} onInput=${(event) => setWritten(event.target.value)}></textarea>
    <button type="button" class="secondary small" disabled=${written === null} onClick=${() => use(written)}>Use this</button></details>`;
}

function Verdict({ refused, preview }) {
  if (refused) return html`<${Refusal} error=${refused} />`;
  if (!preview) return html`<p role="status">…</p>`;
  return html`<p role="status" class="good">about ${plural(preview.rows, "row")}, ${plural(preview.requests, "request")} to mPaaS, ${duration(preview.seconds)}${preview.cost?.total > 0 && `, ${preview.cost.currency} ${preview.cost.total.toLocaleString("en", { maximumSignificantDigits: 2 })} in the cloud`}</p>`;
}

function Check({ checked }) {
  if (!checked) return html`<p class="hint">Not checked yet: a check reads every row.</p>`;
  const rows = checked.lines.filter((line) => /^(line \d|…)/.test(line));
  const counts = checked.lines.filter((line) => !rows.includes(line));
  return html`<div role="status">
    ${counts.map((line) => html`<p class=${checked.passed ? "good" : ""}>${line}</p>`)}
    ${checked.error && html`<p class="failure">${checked.error}</p>`}
    ${rows.length > 0 && html`<details open><summary>Rows that cannot be sent</summary><ul class="faults">${rows.map((line) => html`<li>${line}</li>`)}</ul></details>`}
  </div>`;
}
