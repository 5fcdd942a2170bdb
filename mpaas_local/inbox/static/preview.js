// Shows a push as each channel displays it. Nothing in a push is loaded: a picture is shown as its URL.
import { html } from "./vendor/preact-htm.js";
import { Badge, plural } from "./words.js";

export function Previews({ shown }) {
  if (!shown) return null;
  if (!shown.valid) return html`<p>This is not a valid message; no channel would show it.</p><${Faults} faults=${shown.faults} />`;
  return html`
    <p class="marks">
      <${Badge}>${shown.style}<//>
      <${Badge}>to: ${shown.delivery}<//>
      ${shown.silent && html`<${Badge} kind="silent">silent<//>`}
      ${shown.ownChannelOnly && html`<${Badge}>MPS channel only<//>`}
      ${shown.occurrences.length > 0 && html`<${Badge}>scheduled<//>`}
      ${shown.sms && html`<${Badge}>SMS supplement<//>`}
    </p>
    ${shown.activity ? html`<${Activity} activity=${shown.activity} />`
      : html`<ul class="phones">${shown.channels.map((channel) => html`<li key=${channel.name}><${Phone} channel=${channel} shown=${shown} /></li>`)}</ul>`}
    <${Calendar} occurrences=${shown.occurrences} />
    <${Sms} sms=${shown.sms} />
    ${shown.advice.length > 0 && html`<details class="advice"><summary>${plural(shown.advice.length, "warning")}</summary>
      <ul>${shown.advice.map((warning) => html`<li>${warning.message}</li>`)}</ul></details>`}`;
}

export const Faults = ({ faults }) => html`<ul class="faults">${faults.map((fault) => html`<li><code>${fault.field || "message"}</code> ${fault.message}</li>`)}</ul>`;

function Phone({ channel, shown }) {
  return html`<figure class="phone ${channel.refused ? "refused" : ""} ${shown.silent ? "muted" : ""}" aria-label=${channel.label}>
    <figcaption>${channel.label}${channel.refused && html` <${Badge} kind="refused">too long: refused<//>`}</figcaption>
    <div class="note">
      <span class="icon" title=${channel.icon || "the app's own icon"} aria-hidden="true">${channel.icon ? "◪" : "▣"}</span>
      <div>
        <p class="title"><${Cut} text=${channel.title} /></p>
        <p class="content ${shown.style.startsWith("big") || channel.content.cut ? "" : "clamped"}"><${Cut} text=${channel.content} /></p>
        ${channel.banner && channel.banner !== channel.content.shown && html`<p class="hint">banner: ${channel.banner}…</p>`}
        ${channel.picture && html`<p class="picture" title=${channel.picture}>picture: ${channel.picture}</p>`}
        ${shown.silent && html`<p class="hint">no sound; the app decides what to show</p>`}
        ${channel.transparent && html`<p class="hint">data message, the app decides what to show: <code>${JSON.stringify(channel.transparent)}</code></p>`}
      </div>
    </div>
  </figure>`;
}

const Cut = ({ text }) => html`${text.shown}${text.cut && html`<del title="truncated or refused here">${text.cut}</del>`}`;

const Activity = ({ activity }) => html`<figure class="phone activity" aria-label="Live Activity">
  <figcaption>Live Activity: ${activity.event}</figcaption>
  <dl>${Object.entries(activity.state).map(([key, value]) => html`<dt>${key}</dt><dd>${typeof value === "string" ? value : JSON.stringify(value)}</dd>`)}</dl>
  <p class="hint">${activity.event === "end"
    ? activity.dismissedAt ? `disappears ${activity.dismissedAt.replace("T", " ").slice(0, 19)} China time` : "iOS removes it after 4 hours"
    : "stays until it is ended, at most 12 hours"}</p>
</figure>`;

const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

function Calendar({ occurrences }) {
  if (occurrences.length === 0) return null;
  return html`<section class="calendar"><h3>Sent at (China time)</h3>
    <ol class="strip" tabindex="0" aria-label="Next occurrences">${occurrences.map((occurrence) => {
      const [day, time] = occurrence.split("T");
      const weekday = WEEKDAYS[new Date(`${day}T00:00:00Z`).getUTCDay()];
      return html`<li key=${occurrence}><time datetime=${occurrence}><b>${weekday}</b><span>${day.slice(5)}</span><span>${time.slice(0, 8)}</span></time></li>`;
    })}</ol></section>`;
}

const Sms = ({ sms }) => sms && html`<section class="sms"><h3>SMS supplement</h3>
  <p>[${sms.signName}] template ${sms.template}, strategy ${sms.strategy}</p><pre tabindex="0">${JSON.stringify(sms.parameters, null, 2)}</pre></section>`;
