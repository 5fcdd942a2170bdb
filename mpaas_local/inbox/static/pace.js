// The pace of a campaign: a slider over five decades, a number, or no limit.
import { html, useRef, useState } from "./vendor/preact-htm.js";
import { thousands } from "./words.js";

const MOST = 100000;
const STEPS = 100;
const MOVING_MILLISECONDS = 200;
const TYPING_MILLISECONDS = 1000;
const paceAt = (step) => Number((MOST ** (step / STEPS)).toPrecision(2));
const stepOf = (pace) => Math.round((Math.log(pace) / Math.log(MOST)) * STEPS);
export const paceText = (pace) => (pace === null || pace === undefined ? "no limit" : `${thousands(pace)} targets a second`);

// Calls `change` with the new pace: at once, or with `rests` when the user stops moving or typing.
export function Pace({ pace, change, rests = false }) {
  const [held, setHeld] = useState(undefined); // chosen, but not changed yet
  const [text, setText] = useState(undefined); // being typed
  const [latest, setLatest] = useState(500); // restored when "no limit" is switched off
  const timer = useRef();
  const turn = useRef(0);
  const shown = held === undefined ? pace ?? null : held;
  const set = (value, milliseconds) => {
    setHeld(value);
    if (value !== null) setLatest(value);
    clearTimeout(timer.current);
    const own = ++turn.current;
    const send = async () => {
      await change(value);
      if (own === turn.current) setHeld(undefined);
    };
    if (rests) timer.current = setTimeout(send, milliseconds);
    else send();
  };
  const typed = (event, milliseconds) => {
    const value = Math.round(Number(event.target.value));
    if (value >= 1 && value <= MOST && value !== shown) set(value, milliseconds);
  };
  return html`<fieldset class="pace"><legend>Pace</legend>
    <input type="range" min="0" max=${STEPS} aria-label="Pace" aria-valuetext=${paceText(shown)} value=${shown === null ? STEPS : stepOf(shown)}
      onInput=${(event) => setHeld(paceAt(Number(event.target.value)))} onChange=${(event) => set(paceAt(Number(event.target.value)), MOVING_MILLISECONDS)} />
    <div class="exact">
      <input type="number" min="1" max=${MOST} aria-label="Targets a second" value=${text ?? shown ?? ""}
        onInput=${(event) => {
          setText(event.target.value);
          typed(event, TYPING_MILLISECONDS);
        }}
        onChange=${(event) => typed(event, 0)} onBlur=${() => setText(undefined)} /> <span>targets a second</span>
      <label><input type="checkbox" checked=${shown === null} onChange=${(event) => set(event.target.checked ? null : latest, 0)} /> no limit</label>
    </div>
  </fieldset>`;
}
