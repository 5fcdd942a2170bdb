// The inbox's JSON API (see /openapi.json); an error response is thrown, with the text to show.
import { useEffect, useState } from "./vendor/preact-htm.js";

export async function api(path, { method = "GET", body } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(textOf(value.detail) || `${answer.status} ${answer.statusText}`);
  return value;
}

function textOf(detail) {
  if (!Array.isArray(detail)) return detail;
  return detail.map((each) => `${each.loc.slice(1).join(".") || "order"}: ${each.msg}`).join("; ");
}

export const query = (values) =>
  new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));

const listeners = new Set();
export const connection = { open: false };

// One stream for the whole page; each event has the number of changes by kind.
export function listen() {
  const source = new EventSource("/api/changes");
  source.addEventListener("change", (event) => announce(JSON.parse(event.data), true));
  source.addEventListener("error", () => announce(null, false));
}

function announce(counts, open) {
  connection.open = open;
  listeners.forEach((listener) => listener(counts));
}

// Calls `then` now and after every change of these kinds.
export function useChanges(kinds, then, needs = []) {
  useEffect(() => {
    let last = null;
    const changed = (counts) => {
      if (counts === null) return;
      const sum = kinds.map((kind) => counts[kind] || 0).join();
      if (sum !== last) then();
      last = sum;
    };
    then();
    listeners.add(changed);
    return () => listeners.delete(changed);
  }, needs);
}

export function useConnection() {
  const [open, setOpen] = useState(connection.open);
  useEffect(() => {
    const changed = () => setOpen(connection.open);
    listeners.add(changed);
    return () => listeners.delete(changed);
  }, []);
  return open;
}
