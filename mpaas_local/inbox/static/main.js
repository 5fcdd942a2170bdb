// The page: navigation by the URL's hash, keyboard shortcuts, light and dark theme.
import { html, render, useEffect, useLayoutEffect, useState } from "./vendor/preact-htm.js";
import { listen, useConnection } from "./api.js";
import { Campaign, Campaigns } from "./campaigns.js";
import { Compose } from "./compose.js";
import { acceptFiles } from "./drop.js";
import { Faults } from "./faults.js";
import { List } from "./list.js";
import { NewCampaign, readDraft } from "./new_campaign.js";
import { Overview } from "./overview.js";
import { Push } from "./push.js";
import { Queues } from "./queues.js";

const PAGES = { "": "Pushes", compose: "Compose", campaigns: "Campaigns", faults: "Faults", overview: "Overview", queues: "Queues" };
const PARTS = { push: "", "new-campaign": "campaigns" }; // subpages, with the page that they belong to
const KEYS = { g: "", c: "compose", m: "campaigns", f: "faults", o: "overview", q: "queues" };
const kept = { list: {}, compose: {}, campaign: readDraft() }; // state that survives leaving a page

function Page() {
  const [address, setAddress] = useState(location.hash);
  const [help, setHelp] = useState(false);
  const [files, setFiles] = useState([]); // dropped files, for a new campaign
  const open = useConnection();
  useEffect(() => acceptFiles((dropped) => {
    setFiles(dropped);
    location.hash = "#/new-campaign";
  }), []);
  // useEffect would run only after the first paint, and miss a hash that changed before it.
  useLayoutEffect(() => {
    const changed = (event) => {
      if (isList(new URL(event.oldURL).hash)) kept.list.scroll = scrollY;
      setAddress(location.hash);
      const [, opened] = new URL(event.oldURL).hash.match(/^#\/push\/(\d+)/) || [];
      requestAnimationFrame(() => {
        scrollTo(0, isList(location.hash) ? kept.list.scroll || 0 : 0);
        // Do not take the focus from a user who is already in the search field.
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
  const [page = "", detail = ""] = address.replace(/^#\/?/, "").split("/").map(decoded);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <header class="top"><nav aria-label="Pages">
      <strong class="name">mpaas-push</strong>
      <ul>${Object.entries(PAGES).map(([name, title]) => html`<li key=${name}><a href=${`#/${name}`} aria-current=${name === (PARTS[page] ?? page) ? "page" : undefined}>${title}</a></li>`)}</ul>
      <span class="live ${open ? "on" : "off"}" role="status">${open ? "live" : "not connected"}</span>
      <button type="button" class="secondary outline small" onClick=${theme}>Light / dark</button>
      <button type="button" class="secondary outline small" aria-expanded=${help} onClick=${() => setHelp(!help)}>Shortcuts</button>
    </nav></header>
    ${help && html`<aside class="container-fluid keys" aria-label="Shortcuts"><p><kbd>/</kbd> search · <kbd>j</kbd> <kbd>k</kbd> next, previous · <kbd>Enter</kbd> open · <kbd>Esc</kbd> back to the list ·
      <kbd>g</kbd> pushes · <kbd>c</kbd> compose · <kbd>m</kbd> campaigns · <kbd>f</kbd> faults · <kbd>o</kbd> overview · <kbd>q</kbd> queues · <kbd>?</kbd> shortcuts</p></aside>`}
    ${page === "" && html`<${List} kept=${kept.list} />`}
    ${page === "push" && html`<${Push} key=${detail} seq=${detail} />`}
    ${page === "compose" && html`<${Compose} kept=${kept.compose} />`}
    ${page === "campaigns" && (detail ? html`<${Campaign} key=${detail} id=${detail} />` : html`<${Campaigns} />`)}
    ${page === "new-campaign" && html`<${NewCampaign} kept=${kept.campaign} dropped=${files} />`}
    ${page === "faults" && html`<${Faults} />`}
    ${page === "overview" && html`<${Overview} />`}
    ${page === "queues" && html`<${Queues} name=${detail} />`}
    ${!(page in PARTS) && !(page in PAGES) && html`<main class="container-fluid" id="main"><h1>Page not found</h1><p><a href="#/">All pushes</a></p></main>`}`;
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
      event.preventDefault(); // Escape would clear a search field silently
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
