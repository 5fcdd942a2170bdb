// The list of pushes: newest first, live; older ones load on scrolling.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { api, query, useChanges } from "./api.js";
import { Badge, DELIVERIES, Failure, OUTCOMES, TRIGGERS, clock, plural, thousands } from "./words.js";

const PAGE = 50;
const EMPTY_FILTER = { text: "", target: "", outcome: "", trigger: "", deliveryType: "" };

export function List({ kept }) {
  const [filter, setFilter] = useState(kept.filter || EMPTY_FILTER);
  const [rows, setRows] = useState(kept.rows || []);
  const [total, setTotal] = useState(kept.total || 0);
  const [error, setError] = useState("");
  const latest = useRef();
  latest.current = { rows, filter };
  Object.assign(kept, { filter, rows, total });

  const refresh = async () => {
    const requested = latest.current.filter;
    try {
      const page = await api(`/api/pushes?${query({ ...requested, limit: PAGE })}`);
      if (latest.current.filter !== requested) return;
      setTotal(page.total);
      setRows(merged(latest.current.rows, page.pushes));
      setError("");
    } catch (failure) {
      setError(failure.message);
    }
  };
  const change = (key) => (event) => {
    setRows([]);
    setFilter({ ...filter, [key]: event.target.value });
  };
  const filtered = Object.values(filter).some(Boolean);
  const reset = () => {
    setRows([]);
    setFilter(EMPTY_FILTER);
  };
  useChanges(["pushes", "calls"], refresh, [filter]);

  const older = async () => {
    const { rows: known, filter: requested } = latest.current;
    if (known.length === 0) return;
    const page = await api(`/api/pushes?${query({ ...requested, limit: PAGE, before: known[known.length - 1].seq })}`);
    if (latest.current.filter === requested) setRows((now) => [...now, ...page.pushes.filter((push) => push.seq < now[now.length - 1].seq)]);
  };
  const clear = async () => {
    if (!confirm("Delete all pushes, including those hidden by the filter?")) return;
    await api("/api/pushes", { method: "DELETE" });
    setRows([]);
    refresh();
  };

  return html`<main class="container-fluid" id="main">
    <h1 class="narrow-only">Pushes</h1>
    <form class="filter" role="search" onSubmit=${(event) => event.preventDefault()}>
      <input type="search" id="search" placeholder="Search task, title, content  ( / )" aria-label="Search" value=${filter.text} onInput=${change("text")} />
      <input type="search" placeholder="Target (exact)" aria-label="Target" value=${filter.target} onInput=${change("target")} />
      <${Choice} label="Outcome" value=${filter.outcome} values=${OUTCOMES} change=${change("outcome")} />
      <${Choice} label="Trigger" value=${filter.trigger} values=${TRIGGERS} change=${change("trigger")} />
      <${Choice} label="Delivery" value=${filter.deliveryType} values=${Object.keys(DELIVERIES)} names=${DELIVERIES} change=${change("deliveryType")} />
      <button type="button" class="secondary outline" onClick=${clear}>Delete all</button>
    </form>
    <${Failure} error=${error} />
    <p class="count" role="status">${plural(total, "push").replace("pushs", "pushes")}</p>
    ${filtered && html`<p><button type="button" class="secondary outline small" onClick=${reset}>Reset the filter</button></p>`}
    ${rows.length === 0 && filtered && html`<p class="empty">No push matches the filter.</p>`}
    ${rows.length === 0 && !filtered && html`<p class="empty">No pushes yet. <a href="#/compose">Compose a push</a>, or send one to the HTTP function.</p>`}
    <ol class="pushes">${rows.map((push) => html`<li key=${push.seq}><${Row} push=${push} /></li>`)}</ol>
    ${rows.length > 0 && rows.length < total && html`<${Older} load=${older} left=${total - rows.length} />`}
  </main>`;
}

const Choice = ({ label, value, values, names = {}, change }) => html`<select aria-label=${label} value=${value} onChange=${change}>
  <option value="">${label}: any</option>${values.map((option) => html`<option value=${option}>${names[option] || option}</option>`)}</select>`;

const Row = ({ push }) => html`<a class="push" href=${`#/push/${push.seq}`} data-seq=${push.seq}>
  <time datetime=${push.receivedAt}>${clock(push.receivedAt)}</time>
  <${Badge} kind="trigger">${push.trigger || "…"}<//>
  <span class="words"><b>${push.title || "(no title)"}</b> <span>${push.content}</span></span>
  <span class="whom">${DELIVERIES[push.deliveryType] || "?"}: ${push.firstTarget}${push.targets > 1 && ` and ${thousands(push.targets - 1)} more`}</span>
  <span class="marks">
    ${push.warnings > 0 && html`<${Badge} kind="warning">${plural(push.warnings, "warning")}<//>`}
    ${push.fault && html`<${Badge} kind="fault">${push.fault}<//>`}
    <${Badge} kind=${push.outcome}>${push.outcome}${push.outcome !== "accepted" && push.code ? ` ${push.code}` : ""}<//>
  </span>
</a>`;

// Loads the next page when it scrolls into view; also a button.
function Older({ load, left }) {
  const here = useRef();
  const busy = useRef(false);
  const once = async () => {
    if (busy.current) return;
    busy.current = true;
    await load().finally(() => (busy.current = false));
  };
  useEffect(() => {
    const watcher = new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && once(), { rootMargin: "400px" });
    watcher.observe(here.current);
    return () => watcher.disconnect();
  });
  return html`<p class="older" ref=${here}><button type="button" class="secondary outline" onClick=${once}>${thousands(left)} older</button></p>`;
}

// Merges the newest page into the known rows; after a gap or a cleared inbox, the page replaces them.
function merged(known, newest) {
  if (newest.length === 0) return [];
  const top = newest[0].seq;
  const bottom = newest[newest.length - 1].seq;
  const rest = known.filter((row) => row.seq < bottom);
  const joins = known.some((row) => row.seq >= bottom) && known[0].seq <= top;
  return joins ? [...newest, ...rest] : newest;
}
