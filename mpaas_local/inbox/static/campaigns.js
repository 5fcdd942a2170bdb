// The list of campaigns, and the page of one with its progress, charts, pace, samples and report.
import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { api, useChanges } from "./api.js";
import { Curves, FATES, rateNow, sent } from "./curves.js";
import { Pace, paceText } from "./pace.js";
import { Previews } from "./preview.js";
import { Badge, Refusal, clock, duration, moment, plural, thousands } from "./words.js";

const path = (id) => `/api/campaigns/${encodeURIComponent(id)}`;

export function Campaigns() {
  const [listed, setListed] = useState(null);
  const [error, setError] = useState(null);
  useChanges(["campaigns", "pushes"], () => api("/api/campaigns").then((list) => { setListed(list); setError(null); }, setError));
  return html`<main class="container-fluid" id="main">
    <h1>Campaigns</h1>
    <p class="actions"><a role="button" href="#/new-campaign">New campaign</a> <span class="hint">or drop a CSV anywhere on this page</span></p>
    <${Refusal} error=${error} />
    ${listed && listed.campaigns.length === 0 && html`<p class="empty">No campaigns yet. Drop a CSV here, or start a campaign from the command line or by HTTP.</p>`}
    ${listed && listed.campaigns.length > 0 && html`<div class="scroll" tabindex="0"><table class="campaigns"><thead><tr><th>Campaign</th><th>State</th><th>Progress</th><th>Rows</th><th>Accepted</th><th>Others</th><th>Pace</th><th>Rate</th><th>Started</th></tr></thead>
      <tbody>${listed.campaigns.map((campaign) => html`<tr key=${campaign.campaign}><th scope="row"><a href=${`#/campaigns/${campaign.campaign}`}>${campaign.campaign}</a></th>
        <td data-label="State"><${Badge} kind=${stateOf(campaign)}>${stateOf(campaign)}<//></td>
        <td data-label="Progress"><progress value=${campaign.bytesDone} max=${Math.max(campaign.bytes, 1)} aria-label=${`Progress of ${campaign.campaign}`}></progress> ${percent(campaign)}</td>
        <td data-label="Rows">${thousands(campaign.counts.rows)}</td><td data-label="Accepted">${thousands(campaign.counts.accepted)}</td><td data-label="Others">${others(campaign.counts)}</td><td data-label="Pace">${campaign.pace === null ? "no limit" : `${thousands(campaign.pace)}/s`}</td><td data-label="Rate">${thousands(Math.round(rateOf(campaign)))}/s</td>
        <td data-label="Started"><time datetime=${campaign.startedAt}>${moment(campaign.startedAt)}</time></td></tr>`)}</tbody></table></div>`}
  </main>`;
}

const percent = (campaign) => `${Math.floor((100 * campaign.bytesDone) / Math.max(campaign.bytes, 1))}%`;
// The rate of the last seconds; of a campaign that has ended, the average.
const rateOf = (campaign) => (campaign.finishedAt ? sent(campaign.counts) / Math.max((new Date(campaign.finishedAt) - new Date(campaign.startedAt)) / 1000, 1) : campaign.rate);
const others = (counts) => FATES.filter((fate) => fate !== "accepted" && counts[fate]).map((fate) => `${thousands(counts[fate])} ${fate}`).join(", ") || "–";

export function Campaign({ id }) {
  const [details, setDetails] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [pending, setPending] = useState(undefined); // the pace to resume at
  const refresh = () => api(path(id)).then(setDetails, setError);
  useChanges(["campaigns"], refresh, [id]);
  const control = async (method, action, body) => {
    setBusy(true);
    try {
      await api(`${path(id)}${action}`, { method, body });
      setError(null);
      await refresh();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  if (!details) return html`<main class="container-fluid" id="main"><p><a href="#/campaigns">← all campaigns</a></p><h1>${id}</h1><${Refusal} error=${error} /></main>`;
  const { campaign, document, history } = details;
  const { counts } = campaign;
  const state = stateOf(campaign);
  const isStopped = state === "paused" || state === "incomplete";
  const isPausing = state === "paused" && campaign.piecesWorking > 0; // a resume would wait for the pieces that are still sending
  const pace = isStopped && pending !== undefined ? pending : campaign.pace;
  const changePace = async (value) => {
    if (isStopped) setPending(value);
    else await control("PATCH", "", { pace: value });
  };
  const resume = async () => {
    await control("POST", "/resume", pending === undefined ? undefined : { pace: pending });
    setPending(undefined);
  };
  const cancel = () => {
    if (confirm(`Cancel ${id}? The remaining rows are counted as cancelled; this cannot be undone.`)) control("POST", "/cancel");
  };
  const ended = ["done", "cancelled", "cancelling"].includes(state);
  return html`<main class="container-fluid" id="main">
    <p><a href="#/campaigns">← all campaigns</a></p>
    <h1 class="breaks">${id}</h1>
    <p class="marks" role="status"><${Badge} kind=${state}>${state}<//> <span>started ${moment(campaign.startedAt)}</span>${campaign.finishedAt && html` <span>ended ${moment(campaign.finishedAt)}</span>`}
      <span class="breaks">oss://${document.audience.bucket}/${document.audience.key}</span></p>
    <progress class="whole" value=${campaign.bytesDone} max=${Math.max(campaign.bytes, 1)} aria-label="Progress"></progress>
    <p>${percent(campaign)}, ${plural(counts.rows, "row")}${state === "running" && html`, ${thousands(Math.round(rateNow(history)))} a second now`}${state === "running" && campaign.secondsLeft !== null && html`, ${duration(campaign.secondsLeft)} left`}${state === "waiting" && campaign.opensAt && html`, its window opens ${moment(campaign.opensAt)}`}${isPausing && html`, ${plural(campaign.piecesWorking, "piece")} still sending`}</p>
    ${campaign.piecesStalled > 0 && html`<p class="odd">${plural(campaign.piecesStalled, "piece")} with a stalled worker${campaign.stalledUntil && html`: the next worker takes over at ${clock(campaign.stalledUntil)}`}</p>`}
    ${campaign.problem && html`<p role="alert" class="failure">${campaign.problem}</p>`}
    <${Refusal} error=${error} />
    <div class="actions">
      ${(state === "running" || state === "waiting") && html`<button type="button" disabled=${busy} onClick=${() => control("POST", "/pause")}>Pause</button>`}
      ${isStopped && html`<button type="button" disabled=${busy || isPausing} onClick=${resume}>${pending === undefined ? "Resume" : `Resume at ${paceText(pending)}`}</button>`}
      ${!ended && html`<button type="button" class="secondary" disabled=${busy} onClick=${cancel}>Cancel</button>`}
      <a role="button" class="secondary outline" href=${`${path(id)}/report`} download>Download report</a>
    </div>
    ${!ended && html`<${Pace} pace=${pace} change=${changePace} rests=${!isStopped} />`}
    <dl class="figures">
      ${["accepted", ...FATES.slice(1).filter((fate) => counts[fate])].map((fate) => html`<div key=${fate}><dt>${fate}</dt><dd>${thousands(counts[fate])}</dd></div>`)}
      <div><dt>requests</dt><dd>${thousands(campaign.requests)}</dd></div>
      <div><dt>${campaign.finishedAt ? "average rate" : "rate"}</dt><dd>${thousands(Math.round(rateOf(campaign)))}/s</dd></div>
      ${ended && html`<div><dt>pace</dt><dd>${campaign.pace === null ? "no limit" : `${thousands(campaign.pace)}/s`}</dd></div>`}
    </dl>
    <div class="columns">
      <section aria-label="Curves"><${Curves} history=${history} /></section>
      <section aria-label="Samples"><h2>Samples</h2><${SamplesOf} document=${document} /></section>
    </div>
    <details><summary>The campaign as JSON</summary><pre tabindex="0">${JSON.stringify(document, null, 2)}</pre></details>
  </main>`;
}

// The state of a campaign; `cancelling` while the rows of a cancelled one are still being counted.
function stateOf(campaign) {
  return campaign.cancelling ? "cancelling" : campaign.state;
}

// The samples of a started campaign, rendered again from its file.
function SamplesOf({ document }) {
  const [preview, setPreview] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    api("/api/campaigns/preview", { method: "POST", body: document }).then(setPreview, setError);
  }, [document.campaign]);
  return html`<${Refusal} error=${error} />${preview && html`<${Samples} samples=${preview.samples} />`}`;
}

export function Samples({ samples }) {
  const [index, setIndex] = useState(0);
  if (samples.length === 0) return html`<p>None of the sampled rows can be sent.</p>`;
  const sample = samples[Math.min(index, samples.length - 1)];
  return html`<div class="actions" role="group" aria-label="Rows">${samples.map((row, number) => html`<button type="button" key=${number} class=${`small secondary ${row === sample ? "" : "outline"}`} aria-pressed=${row === sample} onClick=${() => setIndex(number)}>${row.line ? `line ${thousands(row.line)}` : "last row"}: ${row.target}</button>`)}</div>
    <${Previews} shown=${sample.shown} />`;
}
