// Calls the inbox's JSON API (see /openapi.json). An error response is thrown as an error whose text the page shows.
import { useEffect, useState } from "./vendor/preact-htm.js";

export async function api(path, options) {
  return valueOf(await send(path, options));
}

// Sends a POST request and yields each value of the response, which is JSON Lines.
export async function* jsonLines(path, options) {
  const response = await send(path, { method: "POST", ...options });
  if (!response.ok) await valueOf(response); // throws
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    const lines = (rest + chunk.value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

function send(path, { method = "GET", body, text, signal } = {}) {
  const type = body !== undefined ? "application/json" : text !== undefined ? "text/plain" : undefined;
  return fetch(path, { method, signal, headers: type ? { "Content-Type": type } : {}, body: body === undefined ? text : JSON.stringify(body) });
}

const valueOf = async (response) => checked(await response.json().catch(() => ({})), response.ok, `${response.status} ${response.statusText}`);

// Uploads a file of any size and reports the share that has been sent to `progress`, which fetch cannot do.
export function upload(path, file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(event.loaded / event.total);
    request.onload = () => {
      try {
        resolve(checked(request.response || {}, request.status < 400, `${request.status} ${request.statusText}`));
      } catch (failure) {
        reject(failure);
      }
    };
    request.onerror = () => reject(new Error("the upload was interrupted"));
    request.send(file);
  });
}

// Returns the value, or throws an error with its text and the errors of its fields.
function checked(value, ok, status) {
  if (ok) return value;
  throw Object.assign(new Error(textOf(value.detail) || status), { status: Number.parseInt(status, 10), errors: value.errors || [] });
}

function textOf(detail) {
  if (!Array.isArray(detail)) return detail;
  return detail.map((error) => `${error.loc.slice(1).join(".") || "body"}: ${error.msg}`).join("; ");
}

export const query = (values) =>
  new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));

const listeners = new Set();
export const connection = { open: false };

// Opens the page's only event stream; each event has the number of changes by kind.
export function listen() {
  const source = new EventSource("/api/changes");
  source.addEventListener("change", (event) => announce(JSON.parse(event.data), true));
  source.addEventListener("error", () => announce(null, false));
}

function announce(counts, open) {
  connection.open = open;
  listeners.forEach((listener) => listener(counts));
}

// Calls `then` at once and after every change of these kinds.
export function useChanges(kinds, then, dependencies = []) {
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
  }, dependencies);
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
