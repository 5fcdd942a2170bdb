// The queues with their messages; dead letters can be sent back.
import { html, useState } from "./vendor/preact-htm.js";
import { api, useChanges } from "./api.js";
import { Badge, Failure, moment, plural, pretty, thousands } from "./words.js";

export function Queues({ name }) {
  const [listed, setListed] = useState(null);
  const [messages, setMessages] = useState([]);
  const [error, setError] = useState("");
  const refresh = async () => {
    try {
      setListed(await api("/api/queues"));
      setMessages(name ? (await api(`/api/queues/${encodeURIComponent(name)}/messages`)).messages : []);
      setError("");
    } catch (failure) {
      setError(failure.message);
    }
  };
  useChanges(["queues"], refresh, [name]);
  const back = (id) => async () => {
    try {
      await api(`/api/queues/${encodeURIComponent(name)}/messages/${encodeURIComponent(id)}/back`, { method: "POST", body: {} });
      await refresh();
    } catch (failure) {
      setError(failure.message);
    }
  };
  if (!listed) return html`<main class="container-fluid" id="main"><h1>Queues</h1><${Failure} error=${error} /></main>`;
  return html`<main class="container-fluid" id="main">
    <h1>Queues</h1><${Failure} error=${error} />
    <div class="scroll" tabindex="0"><table><thead><tr><th>Queue</th><th>Ready</th><th>In flight</th><th>Delayed</th></tr></thead>
      <tbody>${listed.queues.map((queue) => html`<tr key=${queue.name}><th scope="row"><a href=${`#/queues/${encodeURIComponent(queue.name)}`} aria-current=${queue.name === name ? "true" : undefined}>${queue.name}</a></th>
        ${[queue.activeMessages, queue.inactiveMessages, queue.delayMessages].map((number) => html`<td>${thousands(number)}</td>`)}</tr>`)}</tbody></table></div>
    ${name && listed.queues.some((queue) => queue.name === name) && html`<h2>${name}</h2><p role="status">${plural(messages.length, "message")}${messages.length === 100 && " (the first 100)"}</p>
      <ul class="letters">${messages.map((message) => html`<li key=${message.messageId}><${Message} message=${message} back=${name === listed.deadLetterQueue && back(message.messageId)} /></li>`)}</ul>`}
  </main>`;
}

function Message({ message, back }) {
  const letter = back ? read(message.text) : null;
  return html`<article>
    <header><${Badge}>${message.state}<//> <span>${moment(message.enqueueTime)}</span> <span>received ${plural(message.dequeueCount, "time")}</span>
      ${letter && html` <${Badge} kind="refused">${letter.reason}<//>`}</header>
    ${letter && html`<p>${letter.detail}</p>`}
    <pre tabindex="0">${pretty(message.text)}</pre>
    ${back && html`<button type="button" class="secondary" onClick=${back}>Send back</button>`}
  </article>`;
}

const read = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};
