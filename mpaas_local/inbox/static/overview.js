// Figures of the last half hour, as small charts.
import { html, useState } from "./vendor/preact-htm.js";
import { api, useChanges } from "./api.js";
import { Failure, OUTCOMES, clock, thousands } from "./words.js";

export function Overview() {
  const [figures, setFigures] = useState(null);
  const [error, setError] = useState("");
  useChanges(["pushes", "calls", "queues"], () => api("/api/overview").then(setFigures, (failure) => setError(failure.message)));
  if (!figures) return html`<main class="container-fluid" id="main"><h1>Overview</h1><${Failure} error=${error} /></main>`;
  const { minutes, received, outcomes, retries, latencyMs, functions, deadLetters } = figures;
  return html`<main class="container-fluid" id="main">
    <h1>Overview</h1><p>The last half hour.</p>
    <dl class="figures">
      <${Figure} name="Requests received" value=${thousands(received)} />
      <${Figure} name="Retries" value=${thousands(retries)} />
      <${Figure} name="Dead letters" value=${thousands(deadLetters)} />
      <${Figure} name="Latency p50" value=${milliseconds(latencyMs.p50)} />
      <${Figure} name="Latency p95" value=${milliseconds(latencyMs.p95)} />
    </dl>
    <div class="columns">
      <section><h2>Requests per minute</h2><${Minutes} minutes=${minutes} /></section>
      <section><h2>Outcomes</h2><p class="hint">As logged by the functions; <a href="#/campaigns">campaigns</a> count their own outcomes.</p><${Bars} values=${outcomes} /></section>
    </div>
    <h2>Functions</h2>
    <div class="scroll" tabindex="0"><table><thead><tr><th>Function</th><th>Calls</th><th>Cold</th><th>Warm</th><th>Failed</th><th>p50</th><th>p95</th></tr></thead>
      <tbody>${functions.map((figures) => html`<tr key=${figures.name}><th scope="row">${figures.name}</th>${[figures.calls, figures.cold, figures.warm, figures.failed].map((number) => html`<td>${thousands(number)}</td>`)}
        <td>${milliseconds(figures.durationMs.p50)}</td><td>${milliseconds(figures.durationMs.p95)}</td></tr>`)}</tbody></table></div>
  </main>`;
}

const milliseconds = (value) => (value === null ? "–" : `${thousands(value)} ms`);
const Figure = ({ name, value }) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

function Minutes({ minutes }) {
  const sum = (minute) => Object.values(minute.outcomes).reduce((a, b) => a + b, 0);
  const most = Math.max(1, ...minutes.map(sum));
  return html`<svg class="chart" viewBox="0 0 300 80" role="img" aria-label=${`Requests per minute, maximum ${most}`}>
    ${minutes.map((minute, index) => {
      let bottom = 78;
      return OUTCOMES.map((outcome) => {
        const height = ((minute.outcomes[outcome] || 0) / most) * 70;
        bottom -= height;
        return height > 0 && html`<rect class=${outcome} x=${index * 10 + 1} y=${bottom} width="8" height=${height}><title>${`${clock(minute.minute * 1000)}: ${minute.outcomes[outcome]} ${outcome}`}</title></rect>`;
      });
    })}
    <line x1="0" y1="79" x2="300" y2="79" />
  </svg>
  <p class="scale" aria-hidden="true"><span>${clock(minutes[0].minute * 1000)}</span><span>maximum ${thousands(most)} per minute</span><span>${clock(minutes[minutes.length - 1].minute * 1000)}</span></p>`;
}

function Bars({ values }) {
  const most = Math.max(1, ...Object.values(values));
  return html`<ul class="bars">${Object.entries(values).map(([name, number]) => html`<li key=${name}><span>${name}</span>
    <progress value=${number} max=${most} aria-label=${name}></progress><span>${thousands(number)}</span></li>`)}</ul>`;
}
