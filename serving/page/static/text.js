/** The note with its evidence, code by code. The text is only ever a text node: markup in a note is shown, not obeyed. */

import { changeContext, editNote, select } from "./actions.js";
import { ContextFields, describeContext } from "./composer.js";
import { Button } from "./controls.js";
import { cutIntoPieces } from "./offsets.js";
import { getShown } from "./review.js";
import { html, useEffect, useMemo, useRef } from "./vendor/preact-htm.js";

const N_HUES = 8;
const ASSERTIONS = { negated: "negated", family_history: "family", history: "history", uncertain: "uncertain" };

export const getHue = (entry) => `hue-${((entry.key - 1) % N_HUES) + 1}`;

/** Number of a code in the list, a letter for a candidate. */
export function nameEntry(note, entry) {
  const place = note.entries.indexOf(entry);
  return place >= 0 ? String(place + 1) : String.fromCharCode(97 + (note.candidates.indexOf(entry) % 26));
}

export const describeAssertion = (span) => ASSERTIONS[span.assertion] ?? "";

export function NoteText({ note, lit }) {
  const box = useRef(null);
  const spans = useMemo(() => listSpans(note, lit), [note, lit]);
  const pieces = useMemo(() => cutIntoPieces(note.text, spans), [note.text, spans]);
  const shown = lit ?? note.selected;
  useEffect(() => scrollTo(box.current, shown), [note.id, shown]);
  const given = describeContext(note.context);
  return html`
    <section class="panel note" aria-labelledby="note-title">
      <div class="panel-head">
        <h2 id="note-title">${note.name}</h2>
        <${Button} icon="edit" class="quiet" onClick=${() => editNote(note)}>Edit</${Button}>
      </div>
      <details class="context">
        <summary>${given || "Patient and encounter not given"}</summary>
        <${ContextFields} context=${note.context} disabled=${Boolean(note.finished)}
          onChange=${(context) => changeContext(note, context)} />
        <p class="small quiet-text">Used by the rule check, not by the model.</p>
      </details>
      <div class="note-text" tabindex="0" role="region" aria-label="Text of the note" ref=${box}>${pieces.map((piece) =>
        piece.spans.length ? html`<${Mark} key=${piece.start} note=${note} piece=${piece} shown=${shown} />` : piece.text,
      )}</div>
      <${Legend} spans=${spans} />
    </section>`;
}

/** A piece of text that is evidence, of one code or of several. */
function Mark({ note, piece, shown }) {
  const spans = [...piece.spans].sort((a, b) => (b.entry.key === shown) - (a.entry.key === shown));
  const [first, second] = spans;
  const lit = spans.some((span) => span.entry.key === shown);
  const begins = piece.spans.filter((span) => span.start === piece.start).map((span) => nameEntry(note, span.entry));
  const numbers = [...new Set(begins)].join("·") || undefined;
  const ending = spans.find((span) => span.end === piece.end && describeAssertion(span));
  const also = second && second.entry.key !== first.entry.key ? ` also ${getHue(second.entry).replace("hue", "also")}` : "";
  const choose = () => {
    const place = spans.findIndex((span) => span.entry.key === note.selected);
    select(note, spans[(place + 1) % spans.length].entry.key, { focus: true });
  };
  return html`<mark class=${`${getHue(first.entry)} ${first.assertion}${lit ? " lit" : ""}${also}`} role="button"
    tabindex=${lit ? 0 : -1} data-n=${numbers} data-label=${ending && describeAssertion(ending)}
    data-keys=${spans.map((span) => span.entry.key).join(" ")} aria-label=${describe(note, piece, spans)}
    onClick=${choose} onKeyDown=${(event) => steer(event, choose)}>${piece.text}</mark>`;
}

function describe(note, piece, spans) {
  const said = spans.map((span) => [nameEntry(note, span.entry), getShown(span.entry).code, describeAssertion(span)]);
  return `${piece.text}: evidence for ${said.map((words) => words.filter(Boolean).join(", ")).join("; ")}`;
}

function steer(event, choose) {
  const marks = [...event.currentTarget.parentElement.querySelectorAll("mark")];
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by) marks[marks.indexOf(event.currentTarget) + by]?.focus();
  else if (event.key === "Enter" || event.key === " ") choose();
  else return;
  event.preventDefault();
}

/** Evidence to show: of every code that stays, and of any code that is looked at. */
function listSpans(note, lit) {
  const looked = [lit, note.selected];
  const entries = note.entries.filter((entry) => entry.decision !== "rejected" || looked.includes(entry.key));
  const candidates = note.candidates.filter((entry) => looked.includes(entry.key));
  return [...entries, ...candidates].flatMap((entry) => joinOverlapping(entry.evidence).map((span) => ({ ...span, entry })));
}

/** Spans of one code that overlap and say the same are shown as one. */
function joinOverlapping(spans) {
  const joined = [];
  for (const span of [...spans].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const before = joined.find((other) => other.assertion === span.assertion && span.start < other.end);
    if (before) before.end = Math.max(before.end, span.end);
    else joined.push({ ...span });
  }
  return joined;
}

/** Bring the first evidence of a code into view, inside the box of the note alone. */
function scrollTo(box, key) {
  const mark = [...box.querySelectorAll("mark.lit")].find((found) => found.dataset.keys.split(" ").includes(String(key)));
  if (!mark) return;
  const [inner, outer] = [mark.getBoundingClientRect(), box.getBoundingClientRect()];
  if (inner.top >= outer.top && inner.bottom <= outer.bottom) return;
  const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  box.scrollTo({ top: box.scrollTop + inner.top - outer.top - outer.height / 3, behavior: smooth ? "smooth" : "auto" });
}

function Legend({ spans }) {
  const found = Object.keys(ASSERTIONS).filter((name) => spans.some((span) => span.assertion === name));
  if (!spans.length) return null;
  return html`
    <p class="legend small quiet-text">
      Numbers name the code that a span supports; the spans were found by asking the model about pieces of the text.
      Click one for its code. ${found.map((name) => html`<span class=${`sample ${name}`}>${ASSERTIONS[name]}</span> `)}
    </p>`;
}
