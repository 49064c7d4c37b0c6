/** Search over titles and codes: the ARIA combobox with a list, results while typing. */

import { askJson } from "./api.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";

const WAIT = 120;
const MOST_HITS = 8;

const isBillable = (hit) => hit.billable !== false;

/**
 * @param {object} props
 * @param {string} props.label what the field is for
 * @param {string} props.query text to start with
 * @param {(hit: {code, title}) => void} props.onPick
 * @param {() => void} props.onCancel Escape with the list closed
 */
export function CodeSearch({ label, query = "", onPick, onCancel }) {
  const [text, setText] = useState(query);
  const [hits, setHits] = useState([]);
  const [active, setActive] = useState(-1);
  const [said, setSaid] = useState("");
  const field = useRef(null);
  // before the next key is pressed, or it would be taken for a shortcut
  useLayoutEffect(() => field.current.focus(), []);
  useEffect(() => lookUp(text, setHits, setActive, setSaid), [text]);
  const isOpen = hits.length > 0;
  const pick = (hit) => hit && isBillable(hit) && onPick({ code: hit.code, title: hit.title });
  const go = (by) => isOpen && setActive((active + by + hits.length) % hits.length);
  const keys = {
    ArrowDown: () => go(1),
    ArrowUp: () => go(-1),
    Enter: () => pick(hits[active]),
    Escape: () => (isOpen ? setHits([]) : onCancel()),
  };
  const press = (event) => {
    event.stopPropagation();
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  };
  return html`
    <div class="search" role="search" aria-label=${label}>
      <label for="search-field">${label}</label>
      <div class="search-row">
        <input id="search-field" type="text" role="combobox" autocomplete="off" spellcheck="false" ref=${field} value=${text}
          placeholder="Title, words, or the beginning of a code" aria-autocomplete="list" aria-controls="search-hits"
          aria-expanded=${String(isOpen)} aria-activedescendant=${active >= 0 ? `hit-${active}` : undefined}
          onInput=${(event) => setText(event.target.value)} onKeyDown=${press} />
        <button type="button" class="quiet" onClick=${onCancel}>Cancel</button>
      </div>
      <ul id="search-hits" role="listbox" aria-label="Codes found" hidden=${!isOpen}>
        ${hits.map(
          (hit, place) => html`<${Hit} key=${hit.code} hit=${hit} place=${place} active=${place === active}
          onPick=${pick} />`,
        )}
      </ul>
      <p class="small quiet-text" role="status">${said}</p>
    </div>`;
}

function Hit({ hit, place, active, onPick }) {
  const matched = hit.matched && ![hit.title, hit.code].includes(hit.matched) ? hit.matched : "";
  const row = useRef(null);
  useEffect(() => active && row.current.scrollIntoView({ block: "nearest" }), [active]);
  return html`
    <li id=${`hit-${place}`} role="option" ref=${row} aria-selected=${String(active)} aria-disabled=${String(!isBillable(hit))}
      onMouseDown=${(event) => event.preventDefault()} onClick=${() => onPick(hit)}>
      <span class="code">${hit.code}</span>
      <span>${hit.title}${isBillable(hit) ? "" : html` <span class="tag">not billable</span>`}
        ${matched && html`<span class="small quiet-text matched">found by “${matched}”</span>`}</span>
    </li>`;
}

/** Ask for codes once the typing pauses; the returned function forgets the question. */
function lookUp(text, setHits, setActive, setSaid) {
  if (!text.trim()) {
    setHits([]);
    setSaid("");
    return undefined;
  }
  const asked = new AbortController();
  const timer = setTimeout(async () => {
    try {
      const { hits } = await askJson("v1/codes", {
        query: { query: text.slice(0, 200), limit: MOST_HITS },
        signal: asked.signal,
      });
      const first = hits.findIndex(isBillable);
      setHits(hits);
      setActive(first);
      setSaid(hits.length ? `${hits.length} codes found; ↑ ↓ to choose, Enter to take` : "No code found");
    } catch (problem) {
      if (problem.name !== "AbortError") setSaid(`No search at the moment: ${problem.message}`);
    }
  }, WAIT);
  return () => {
    clearTimeout(timer);
    asked.abort();
  };
}
