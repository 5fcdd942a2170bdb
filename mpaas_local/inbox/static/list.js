// The list of pushes: newest first, live; older ones load on scrolling.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { api, query, useChanges } from "./api.js";
import { Badge, DELIVERIES, Failure, OUTCOMES, TRIGGERS, clock, plural, thousands } from "./words.js";

const PAGE = 50;
const NOTHING = { text: "", target: "", outcome: "", trigger: "", deliveryType: "" };

export function List({ kept }) {
  const [filter, setFilter] = useState(kept.filter || NOTHING);
  const [rows, setRows] = useState(kept.rows || []);
  const [total, setTotal] = useState(kept.total || 0);
  const [error, setError] = useState("");
  const latest = useRef();
  latest.current = { rows, filter };
  Object.assign(kept, { filter, rows, total });

  const refresh = async () => {
    const asked = latest.current.filter;
    try {
      const page = await api(`/api/pushes?${query({ ...asked, limit: PAGE })}`);
      if (latest.current.filter !== asked) return;
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
    setFilter(NOTHING);
  };
  useChanges(["pushes", "calls"], refresh, [filter]);

  const older = async () => {
    const { rows: known, filter: asked } = latest.current;
    if (known.length === 0) return;
    const page = await api(`/api/pushes?${query({ ...asked, limit: PAGE, before: known[known.length - 1].seq })}`);
    if (latest.current.filter === asked) setRows((now) => [...now, ...page.pushes.filter((each) => each.seq < now[now.length - 1].seq)]);
  };
  const clear = async () => {
    if (!confirm("Delete all pushes, including those that the filter hides?")) return;
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
    ${rows.length === 0 && !filtered && html`<p class="empty">Nothing here yet. <a href="#/compose">Compose a push</a>, or send one to the HTTP function.</p>`}
    <ol class="pushes">${rows.map((each) => html`<li key=${each.seq}><${Row} push=${each} /></li>`)}</ol>
    ${rows.length > 0 && rows.length < total && html`<${Older} load=${older} left=${total - rows.length} />`}
  </main>`;
}

const Choice = ({ label, value, values, names = {}, change }) => html`<select aria-label=${label} value=${value} onChange=${change}>
  <option value="">${label}: any</option>${values.map((each) => html`<option value=${each}>${names[each] || each}</option>`)}</select>`;

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
    const watcher = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && once(), { rootMargin: "400px" });
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
  const rest = known.filter((each) => each.seq < bottom);
  const joins = known.some((each) => each.seq >= bottom) && known[0].seq <= top;
  return joins ? [...newest, ...rest] : newest;
}
