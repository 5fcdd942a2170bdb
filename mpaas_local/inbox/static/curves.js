// Charts of a campaign: its rate and the fates of its rows over time, drawn as SVG.
import { html } from "./vendor/preact-htm.js";
import { clock, thousands } from "./words.js";

export const FATES = ["accepted", "refused", "unknown", "expired", "invalid", "duplicate", "cancelled", "failed"];
const WIDTH = 300, HEIGHT = 90;
const SMOOTH_SECONDS = 3; // a block is a second's worth of rows: a shorter span would show single blocks, not the rate

// Fates of rows that were sent; the rate excludes all others.
const SENT = ["accepted", "refused", "unknown", "failed"];
export const sent = (counts) => SENT.reduce((sum, fate) => sum + (counts[fate] || 0), 0);

export const rateNow = (history) => (history.length > 1 ? rates(history)[history.length - 1] : 0);

export function Curves({ history }) {
  if (history.length < 2) return html`<p>The curves begin with the first rows.</p>`;
  const rate = rates(history);
  const paces = history.map((sample) => sample.pace ?? 0);
  const fates = FATES.filter((fate) => history[history.length - 1].counts[fate] > 0);
  return html`
    <h2>Rate</h2>
    <${Chart} history=${history} unit="targets a second" lines=${[["rate", rate, "sent a second"], ...(paces.some(Boolean) ? [["pace", paces, "pace"]] : [])]} />
    <h2>Outcomes</h2>
    <${Chart} history=${history} unit="rows" lines=${(fates.length ? fates : ["accepted"]).map((fate) => [fate, history.map((sample) => sample.counts[fate] || 0), fate])} />`;
}

function rates(history) {
  let from = 0;
  return history.map((sample, index) => {
    while (from + 1 < index && sample.at - history[from + 1].at >= SMOOTH_SECONDS) from += 1;
    const seconds = sample.at - history[from].at;
    return seconds > 0 ? (sent(sample.counts) - sent(history[from].counts)) / seconds : 0;
  });
}

function Chart({ history, unit, lines }) {
  const first = history[0].at, last = history[history.length - 1].at;
  const most = Math.max(1, ...lines.flatMap(([, values]) => values));
  const x = (at) => (((at - first) / Math.max(last - first, 1)) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - 2 - (value / most) * (HEIGHT - 8)).toFixed(1);
  const label = lines.map(([, values, name]) => `${name} ${thousands(Math.round(values[values.length - 1]))}`).join(", ");
  return html`<figure class="curve">
    <svg class="chart" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`${unit}: ${label}; maximum ${thousands(Math.round(most))}`}>
      ${lines.map(([kind, values]) => html`<polyline key=${kind} class=${kind} vector-effect="non-scaling-stroke" points=${values.map((value, index) => `${kind === "pace" && index ? `${x(history[index].at)},${y(values[index - 1])} ` : ""}${x(history[index].at)},${y(value)}`).join(" ")} />`)}
      <line x1="0" y1=${HEIGHT - 1} x2=${WIDTH} y2=${HEIGHT - 1} />
    </svg>
    <p class="scale" aria-hidden="true"><span>${clock(first * 1000)}</span><span>maximum ${thousands(Math.round(most))} ${unit}</span><span>${clock(last * 1000)}</span></p>
    <figcaption class="legend">${lines.map(([kind, values, name]) => html`<span key=${kind}><i class=${kind}></i>${name} ${thousands(Math.round(values[values.length - 1]))}</span>`)}</figcaption>
  </figure>`;
}
