// The page: where one is, by the part of the address after #; keys; light and dark.
import { html, render, useEffect, useState } from "./vendor/preact-htm.js";
import { listen, useConnection } from "./api.js";
import { Compose } from "./compose.js";
import { Faults } from "./faults.js";
import { List } from "./list.js";
import { Overview } from "./overview.js";
import { Push } from "./push.js";
import { Queues } from "./queues.js";

const PLACES = { "": "Pushes", compose: "Compose", faults: "Faults", overview: "Overview", queues: "Queues" };
const KEYS = { g: "", c: "compose", f: "faults", o: "overview", q: "queues" };
const kept = { list: {}, compose: {} }; // what is not to be lost when one comes back

function Page() {
  const [address, setAddress] = useState(location.hash);
  const [help, setHelp] = useState(false);
  const open = useConnection();
  useEffect(() => {
    const changed = (event) => {
      if (isList(new URL(event.oldURL).hash)) kept.list.scroll = scrollY;
      setAddress(location.hash);
      const [, opened] = new URL(event.oldURL).hash.match(/^#\/push\/(\d+)/) || [];
      requestAnimationFrame(() => {
        scrollTo(0, isList(location.hash) ? kept.list.scroll || 0 : 0);
        // Whoever is quick is in the search by now, and stays there.
        if (opened && document.activeElement === document.body) document.querySelector(`a.push[data-seq="${opened}"]`)?.focus({ preventScroll: true });
      });
    };
    const pressed = (event) => key(event, () => setHelp((now) => !now));
    addEventListener("hashchange", changed);
    addEventListener("keydown", pressed);
    return () => {
      removeEventListener("hashchange", changed);
      removeEventListener("keydown", pressed);
    };
  }, []);
  const [place = "", detail = ""] = address.replace(/^#\/?/, "").split("/").map(decoded);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <header class="top"><nav aria-label="Pages">
      <strong class="name">mpaas-push</strong>
      <ul>${Object.entries(PLACES).map(([name, title]) => html`<li key=${name}><a href=${`#/${name}`} aria-current=${name === place || (name === "" && place === "push") ? "page" : undefined}>${title}</a></li>`)}</ul>
      <span class="live ${open ? "on" : "off"}" role="status">${open ? "live" : "not connected"}</span>
      <button type="button" class="secondary outline small" onClick=${theme}>Light / dark</button>
      <button type="button" class="secondary outline small" aria-expanded=${help} onClick=${() => setHelp(!help)}>Keys</button>
    </nav></header>
    ${help && html`<aside class="container-fluid keys" aria-label="Keys"><p><kbd>/</kbd> search · <kbd>j</kbd> <kbd>k</kbd> next, previous · <kbd>Enter</kbd> open · <kbd>Esc</kbd> back to the list ·
      <kbd>g</kbd> pushes · <kbd>c</kbd> compose · <kbd>f</kbd> faults · <kbd>o</kbd> overview · <kbd>q</kbd> queues · <kbd>?</kbd> this</p></aside>`}
    ${place === "" && html`<${List} kept=${kept.list} />`}
    ${place === "push" && html`<${Push} key=${detail} seq=${detail} />`}
    ${place === "compose" && html`<${Compose} kept=${kept.compose} />`}
    ${place === "faults" && html`<${Faults} />`}
    ${place === "overview" && html`<${Overview} />`}
    ${place === "queues" && html`<${Queues} name=${detail} />`}
    ${place !== "push" && !(place in PLACES) && html`<main class="container-fluid" id="main"><h1>There is no such page</h1><p><a href="#/">All pushes</a></p></main>`}`;
}

const isList = (address) => address.replace(/^#\/?/, "") === "";

const decoded = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

function key(event, toggleHelp) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape") {
    if (typing) {
      event.preventDefault(); // a search field would be emptied without saying so
      event.target.blur();
    } else location.hash = "#/";
  } else if (typing) return;
  else if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search")?.focus();
  } else if (event.key === "?") toggleHelp();
  else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  else if (event.key in KEYS) location.hash = `#/${KEYS[event.key]}`;
}

function step(by) {
  const rows = [...document.querySelectorAll("a.push")];
  const now = rows.indexOf(document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, now + by))]?.focus();
}

const saved = localStorage.getItem("theme");
if (saved) document.documentElement.dataset.theme = saved;
function theme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
}

listen();
document.getElementById("inbox").replaceChildren();
render(html`<${Page} />`, document.getElementById("inbox"));
