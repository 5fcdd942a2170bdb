// The pace of a campaign: a slider over five decades, a number, or no limit.
import { html, useRef, useState } from "./vendor/preact-htm.js";
import { thousands } from "./words.js";

const MOST = 100000;
const STEPS = 100;
const REST_MILLISECONDS = 200;
const paceAt = (step) => Number((MOST ** (step / STEPS)).toPrecision(2));
const stepOf = (pace) => Math.round((Math.log(pace) / Math.log(MOST)) * STEPS);
export const paceText = (pace) => (pace === null || pace === undefined ? "no limit" : `${thousands(pace)} targets a second`);

// `change` gets the new pace once the slider is released, or the keys that move it rest.
export function Pace({ pace, change }) {
  const [held, setHeld] = useState(undefined); // what is chosen and not yet changed
  const [latest, setLatest] = useState(500); // what "no limit" goes back to
  const waiting = useRef();
  const shown = held === undefined ? pace ?? null : held;
  const set = (value) => {
    setHeld(value);
    if (value !== null) setLatest(value);
    clearTimeout(waiting.current);
    waiting.current = setTimeout(async () => {
      const mine = waiting.current;
      await change(value);
      if (mine === waiting.current) setHeld(undefined);
    }, REST_MILLISECONDS);
  };
  const typed = (event) => {
    const value = Math.round(Number(event.target.value));
    if (value >= 1 && value <= MOST) set(value);
    else event.target.value = shown ?? "";
  };
  return html`<fieldset class="pace"><legend>Pace</legend>
    <input type="range" min="0" max=${STEPS} aria-label="Pace" aria-valuetext=${paceText(shown)} value=${shown === null ? STEPS : stepOf(shown)}
      onInput=${(event) => setHeld(paceAt(Number(event.target.value)))} onChange=${(event) => set(paceAt(Number(event.target.value)))} />
    <div class="exact">
      <input type="number" min="1" max=${MOST} aria-label="Targets a second" value=${shown ?? ""} onChange=${typed} /> <span>targets a second</span>
      <label><input type="checkbox" checked=${shown === null} onChange=${(event) => set(event.target.checked ? null : latest)} /> no limit</label>
    </div>
  </fieldset>`;
}
