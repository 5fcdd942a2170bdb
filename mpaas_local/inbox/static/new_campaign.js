// A new campaign: an audience is dropped, the message written; rows are rendered at every pause; all rows are
// checked before the start.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { api, jsonLines, query, upload } from "./api.js";
import { Samples } from "./campaigns.js";
import { Pace } from "./pace.js";
import { Badge, DELIVERIES, Refusal, duration, plural, thousands } from "./words.js";

const DOCUMENT = { campaign: "", message: { taskName: "campaign", title: "Hello", content: "From the inbox.", deliveryType: 3, expiredSeconds: 86400 }, pace: 500 };
const WINDOW = { from: "08:00", to: "21:00", zone: "Asia/Shanghai" };
const FIELDS = ["taskName", "title", "content", "deliveryType", "expiredSeconds"];
const CONFLICT = 409;
const FIRST_COLUMN = "column_1"; // of a file that got its header here
const DRAFT = "campaign"; // where the tab keeps what is not started yet
let taken = []; // the files that were dropped last and have been read

// The campaign that was being written when the page was reloaded.
export const readDraft = () => JSON.parse(sessionStorage.getItem(DRAFT) || "{}");

// `dropped` are files that were dropped on this page or another one.
export function NewCampaign({ kept, dropped }) {
  const [document, setDocument] = useState(kept.document || DOCUMENT);
  const [audience, setAudience] = useState(kept.audience || null);
  const [sending, setSending] = useState(null); // the share of the file that is uploaded
  const [preview, setPreview] = useState(null);
  const [refused, setRefused] = useState(null);
  const [checked, setChecked] = useState(kept.checked || null);
  const [failed, setFailed] = useState(null); // what was being done, and the error
  const [share, setShare] = useState(0); // of the rows that are being checked
  const [busy, setBusy] = useState("");
  const [largest, setLargest] = useState(Infinity);
  const turn = useRef(0);
  const checking = useRef();
  const started = useRef(false);
  const latest = useRef();
  const sent = useRef(null); // the audience's file, until the page is reloaded
  latest.current = document;
  if (!started.current) Object.assign(kept, { document, audience, checked });
  // Not useEffect, which runs after the page is painted: a reload right after a key would lose it.
  useLayoutEffect(() => {
    if (!started.current) sessionStorage.setItem(DRAFT, JSON.stringify(kept));
  }, [document, audience, checked]);

  useEffect(() => {
    api("/api/campaigns").then((listed) => setLargest(listed.largestUpload), (error) => setFailed({ doing: "read", error }));
    return () => checking.current?.abort();
  }, []);
  useEffect(() => {
    if (dropped === taken) return;
    taken = dropped;
    if (dropped.length > 0) guarded("upload", () => take(dropped))();
  }, [dropped]);
  useEffect(() => {
    setFailed((now) => (now?.doing === "start" || now?.doing === "check" ? null : now)); // it was of another document
    if (!document.audience) return undefined;
    const waiting = setTimeout(() => render(++turn.current), 300);
    return () => clearTimeout(waiting);
  }, [document]);

  const render = async (mine) => {
    try {
      const found = await api("/api/campaigns/preview", { method: "POST", body: document });
      if (mine !== turn.current) return;
      setPreview(found);
      setRefused(null);
    } catch (failure) {
      if (mine === turn.current) setRefused(failure);
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
  const take = async (files) => {
    for (const file of files) await (/\.(json|ya?ml)$/i.test(file.name) ? read(await file.text()) : send(file));
  };
  const send = async (file) => {
    if (file.size > largest) throw new Error(`${file.name} is larger than the ${largest / 2 ** 30} GiB that the page takes: python -m mpaas_push campaign start uploads it`);
    setSending(0);
    try {
      const found = await upload(`/api/audiences?${query({ name: file.name })}`, file, setSending);
      sent.current = file;
      setAudience(found);
      setDocument(joined(latest.current, found));
    } finally {
      setSending(null);
    }
  };
  const read = async (text) => {
    const { document: found } = await api("/api/campaigns/document", { method: "POST", text });
    setDocument(audience ? { ...found, audience: { ...found.audience, ...audience.audience, ...(found.audience?.target ? { target: found.audience.target } : {}) } } : found);
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
    if (!current?.passed && !confirm("Start without a check of all rows? Those that cannot be sent are counted and reported as invalid.")) return;
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
  const errors = [...(refused?.errors || []), ...(isTaken ? [{ field: "campaign", message: "is taken: choose another one" }] : [])];
  const more = Object.keys(message).filter((name) => !FIELDS.includes(name));
  const field = (names, label, control) => html`<${Field} id=${names.join(".")} label=${label} errors=${errors} control=${control} />`;
  const columns = audience?.columns || [];
  const warnings = refused || !preview ? [] : preview.warnings;
  const doubts = audience?.hasHeader === false ? [`The first line, ${columns[0]}, looks like an id, but is read as the name of the column: it would get no push.`] : warnings.filter(isOfAudience).map((each) => each.message);
  const others = warnings.filter((each) => !isOfAudience(each));

  return html`<main class="container-fluid" id="main">
    <p><a href="#/campaigns">← all campaigns</a></p>
    <h1>New campaign</h1>
    <section class="drop" aria-label="Audience">
      <input id="audience-file" type="file" multiple accept=".csv,.tsv,.txt,.jsonl,.ndjson,.json,.yaml,.yml" disabled=${busy === "upload"}
        onChange=${(event) => { const files = [...event.target.files]; event.target.value = ""; guarded("upload", () => take(files))(); }} />
      <label for="audience-file" class="choose">Choose a file</label> or drop it anywhere on this page: a CSV with the audience; a campaign in JSON or YAML fills the form.
      ${sending !== null && html`<progress value=${sending} max="1" aria-label="Upload"></progress>`}
      ${audience && html`<${FirstRows} audience=${audience} target=${document.audience?.target} />
        ${columns.length > 1 && columns[0] !== FIRST_COLUMN && sent.current && /\.(csv|tsv)$/i.test(audience.name) && html`<button type="button" class="secondary outline small" disabled=${Boolean(busy)} onClick=${firstLineIsRow}>The first line is a row, not a header</button>`}`}
    </section>
    ${["upload", "read"].includes(failed?.doing) && html`<${Refusal} error=${failed.error} />`}
    ${doubts.length > 0 && html`<div class="ask" role="alert">${doubts.map((each) => html`<span>${each}</span>`)}
      ${columns.length === 1 && html`<button type="button" class="secondary small" onClick=${asPlainIds}>Read the file as plain ids</button>`}</div>`}
    ${document.audience && html`<div class="columns">
      <form onSubmit=${(event) => { event.preventDefault(); check(); }} aria-label="Campaign">
        ${field(["campaign"], "Campaign id", (more) => html`<input type="text" value=${document.campaign ?? ""} onInput=${text(["campaign"])} ...${more} />`)}
        ${columns.length > 0 && field(["audience", "target"], "Target column", (more) => html`<select value=${document.audience.target ?? ""} onChange=${text(["audience", "target"])} ...${more}>${columns.map((each) => html`<option value=${each}>${each}</option>`)}</select>`)}
        <${Texts} message=${message} columns=${columns} field=${field} set=${set} />
        <div class="pair">
          ${field(["message", "deliveryType"], "Targets are", (more) => html`<select value=${String(message.deliveryType)} onChange=${number(["message", "deliveryType"])} ...${more}>${Object.entries(DELIVERIES).map(([value, name]) => html`<option value=${value}>${name}</option>`)}</select>`)}
          ${field(["message", "expiredSeconds"], "Valid for, seconds", (more) => html`<input type="number" value=${message.expiredSeconds ?? ""} onInput=${number(["message", "expiredSeconds"])} ...${more} />`)}
          ${field(["message", "taskName"], "Task name", (more) => html`<input type="text" value=${message.taskName ?? ""} onInput=${text(["message", "taskName"])} ...${more} />`)}
        </div>
        <${Pace} pace=${document.pace ?? null} change=${(value) => set(["pace"], value ?? undefined)} />
        <${Told} errors=${errors} id="pace" />
        <fieldset><label><input type="checkbox" checked=${Boolean(window)} onChange=${(event) => set(["window"], event.target.checked ? WINDOW : undefined)} /> send at some hours of the day only</label>
          ${window && html`<div class="pair">
            ${field(["window", "from"], "From", (more) => html`<input type="time" value=${window.from} onInput=${text(["window", "from"])} ...${more} />`)}
            ${field(["window", "to"], "To", (more) => html`<input type="time" value=${window.to} onInput=${text(["window", "to"])} ...${more} />`)}
            ${field(["window", "zone"], "Time zone", (more) => html`<input type="text" value=${window.zone ?? ""} onInput=${text(["window", "zone"])} ...${more} />`)}
          </div>`}
          <label><input type="checkbox" checked=${document.report === "all"} onChange=${(event) => set(["report"], event.target.checked ? "all" : undefined)} /> the report names accepted rows, too</label>
        </fieldset>
        ${(more.length > 0 || document.texts || document.endsAt) && html`<p class="hint">Also in the campaign: ${[...more, ...["texts", "endsAt"].filter((name) => document[name])].join(", ")}.</p>`}
        <${AsText} document=${document} use=${(written) => guarded("read", () => read(written))()} />
        <div class="verdict">
          <${Verdict} refused=${refused} preview=${preview} />
          ${busy !== "check" && html`<${Check} checked=${current} />`}
          ${["check", "start"].includes(failed?.doing) && html`<${Refusal} error=${failed.error} />`}
          ${isTaken && html`<p class="actions"><a href=${`#/campaigns/${encodeURIComponent(document.campaign)}`}>Show that campaign</a> <button type="button" class="secondary outline small" onClick=${() => set(["campaign"], nextId(document.campaign))}>Call this one ${nextId(document.campaign)}</button></p>`}
          ${busy === "check" && html`<p class="checking"><progress value=${share} max="1" aria-label="Rows that have been checked"></progress> ${Math.floor(share * 100)}%</p>`}
          <div class="actions">
            <button type="button" class=${current?.passed ? "secondary" : ""} aria-busy=${busy === "check"} disabled=${Boolean(busy || refused || !preview)} onClick=${check}>Check all rows</button>
            ${busy === "check" && html`<button type="button" class="secondary outline" onClick=${() => checking.current.abort()}>Stop checking</button>`}
            <button type="button" class=${current?.passed ? "" : "secondary"} aria-busy=${busy === "start"} disabled=${Boolean(busy || refused || !preview)} onClick=${start}>Start</button>
          </div>
        </div>
      </form>
      <section aria-label="Samples" class="stays" tabindex="0"><h2>First and last rows</h2>${preview && !refused && html`<${Samples} samples=${preview.samples} />
        ${preview.faults.length > 0 && html`<h3>Rows that cannot be sent</h3><ul class="faults">${preview.faults.map((each) => html`<li key=${each.offset}>${each.line ? `line ${thousands(each.line)}` : `at byte ${thousands(each.offset)}`}: ${each.message}</li>`)}</ul>`}
        ${others.length > 0 && html`<details><summary>${plural(others.length, "warning")}</summary><ul>${others.map((each) => html`<li>${each.message}</li>`)}</ul></details>`}`}</section>
    </div>`}
  </main>`;
}

const isOfAudience = (warning) => warning.field.startsWith("audience");

// What a check is of: anything but the pace, the hours and the end, which decide about no row.
const contentOf = ({ pace, window, endsAt, ...content }) => JSON.stringify(content);

function changed(value, [name, ...rest], to) {
  const copy = { ...value };
  const inner = rest.length ? changed(copy[name], rest, to) : to;
  if (inner === undefined) delete copy[name];
  else copy[name] = inner;
  return copy;
}

// The document with an audience; what the form starts with is made of its name and columns.
function joined(document, found) {
  const { message } = document;
  const greets = message === DOCUMENT.message && found.columns.includes("name");
  return {
    ...document,
    campaign: document.campaign || idOf(found.name),
    message: greets ? { ...message, title: "Hello {name}" } : message,
    audience: found.audience,
  };
}

// The file with a header before its first row, which names the columns column_1, column_2 and so on. A byte order mark
// stays out of that row.
async function withHeader(file, { columns, audience }) {
  const [a, b, c] = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const hasMark = a === 0xef && b === 0xbb && c === 0xbf;
  const header = columns.map((_, index) => FIRST_COLUMN.replace("1", index + 1)).join(audience.delimiter || ",");
  return new File([`${header}\n`, hasMark ? file.slice(3) : file], file.name);
}

// An id that is free: its number is one more.
function nextId(id) {
  const [, base, number = "1"] = id.match(/^(.*?)(?:-(\d{1,3}))?$/);
  return `${base.slice(0, 60)}-${Number(number) + 1}`;
}

function idOf(name) {
  const now = new Date();
  const digits = [now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes(), now.getSeconds()].map((each) => String(each).padStart(2, "0"));
  const base = name.replace(/\.\w+$/, "").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40);
  return `${base || "campaign"}-${digits[0]}${digits[1]}-${digits.slice(2).join("")}`;
}

const FirstRows = ({ audience, target }) => html`<p role="status">${audience.name}: ${thousands(audience.bytes)} bytes, in OSS. Its first rows:</p>
  <div class="scroll" tabindex="0"><table>${audience.columns.length > 0 && html`<thead><tr>${audience.columns.map((each) => html`<th>${each} ${each === target && html`<${Badge} kind="trigger">target<//>`}</th>`)}</tr></thead>`}
    <tbody>${audience.rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>
  ${audience.faults?.length > 0 && html`<ul class="faults">${audience.faults.map((each) => html`<li>${each}</li>`)}</ul>`}`;

const Told = ({ errors, id }) => errors.filter((each) => each.field === id || each.field.startsWith(`${id}.`)).map((each) => html`<b class="failure">${each.message} </b>`);

function Field({ id, label, errors, control }) {
  const wrong = errors.some((each) => each.field === id || each.field.startsWith(`${id}.`));
  return html`<div class="field"><label for=${id}>${label}</label>
    ${control({ id, "aria-invalid": wrong ? "true" : undefined, "aria-describedby": wrong ? `${id}-help` : undefined })}
    <small id=${`${id}-help`}><${Told} errors=${errors} id=${id} /></small></div>`;
}

// Title and content, and the columns that can be put into them.
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
    ${field(["message", "title"], "Title", (more) => html`<input type="text" value=${message.title ?? ""} onInput=${write} onFocus=${() => setName("title")} ...${more} />`)}
    ${field(["message", "content"], "Content", (more) => html`<textarea rows="3" value=${message.content ?? ""} onInput=${write} onFocus=${() => setName("content")} ...${more}></textarea>`)}
    ${columns.length > 0 && html`<div class="actions" role="group" aria-label=${`Put a column into the ${name}`}><small>Put into the ${name}:</small>${columns.map((each) => html`<button type="button" key=${each} class="secondary outline small" onClick=${insert(each)}>${`{${each}}`}</button>`)}</div>`}`;
}

// The whole document, to look at, to edit, or to paste another one.
function AsText({ document, use }) {
  const [written, setWritten] = useState(null);
  const shown = JSON.stringify(document, null, 2);
  useEffect(() => setWritten(null), [shown]);
  return html`<details><summary>The campaign as JSON; paste or edit it, YAML too</summary>
    <textarea class="code" rows="14" aria-label="The campaign as JSON or YAML" value=${written ?? shown} onInput=${(event) => setWritten(event.target.value)}></textarea>
    <button type="button" class="secondary small" disabled=${written === null} onClick=${() => use(written)}>Use this</button></details>`;
}

function Verdict({ refused, preview }) {
  if (refused) return html`<${Refusal} error=${refused} />`;
  if (!preview) return html`<p role="status">…</p>`;
  return html`<p role="status" class="told">about ${plural(preview.rows, "row")}, ${plural(preview.requests, "request")} to mPaaS, ${duration(preview.seconds)}${preview.cost?.total > 0 && `, ${preview.cost.currency} ${preview.cost.total.toLocaleString("en", { maximumSignificantDigits: 2 })} in the cloud`}</p>`;
}

function Check({ checked }) {
  if (!checked) return html`<p class="hint">Not checked yet: a check reads every row.</p>`;
  const rows = checked.lines.filter((each) => /^(line \d|…)/.test(each));
  const counts = checked.lines.filter((each) => !rows.includes(each));
  return html`<div role="status">
    ${counts.map((each) => html`<p class=${checked.passed ? "told" : ""}>${each}</p>`)}
    ${checked.error && html`<p class="failure">${checked.error}</p>`}
    ${rows.length > 0 && html`<details open><summary>Rows that cannot be sent</summary><ul class="faults">${rows.map((each) => html`<li>${each}</li>`)}</ul></details>`}
  </div>`;
}
