/** One code: how sure the model is, where it comes from, what else it could be, what the rules say, and the decision. */

import { closeSearch, decideOn, move, openSearch, select } from "./actions.js";
import { Button, Icon, IconButton } from "./controls.js";
import { getShown } from "./review.js";
import { CodeSearch } from "./search.js";
import { describeAssertion, getHue, nameEntry } from "./text.js";
import { html } from "./vendor/preact-htm.js";

const MOST_SUGGESTIONS = 6;
const DECISIONS = { accepted: "Accepted", rejected: "Rejected", replaced: "Replaced", added: "Added" };

export function Card({ note, entry, searching, onLook }) {
  const shown = getShown(entry);
  const selected = note.selected === entry.key;
  const isCandidate = note.candidates.includes(entry);
  const findings = isCandidate ? [] : note.findings.filter((finding) => finding.codes.includes(shown.code));
  const look = (key) => () => onLook(key);
  const id = `card-${entry.key}`;
  const about = findings.filter((finding) => selected || finding.severity !== "info");
  return html`
    <li class=${`card ${getHue(entry)} ${entry.decision ?? "undecided"}${selected ? " selected" : ""}`} data-entry=${entry.key}
      onMouseEnter=${look(entry.key)} onMouseLeave=${look(null)} onFocusIn=${look(entry.key)} onFocusOut=${look(null)}>
      <article aria-labelledby=${id}>
        <div class="card-top">
          <h3 id=${id}>
            <${Button} class="card-head" aria-expanded=${String(selected)} onClick=${() => select(note, entry.key)}>
              <span class="badge">${nameEntry(note, entry)}</span>
              <span><span class="code">${shown.code}</span> <span class="title">${shown.title}</span></span>
            </${Button}>
          </h3>
          <${Confidence} note=${note} entry=${entry} />
        </div>
        ${entry.replacement && html`<p class="small was">instead of <s>${entry.code} ${entry.title}</s></p>`}
        ${selected && !entry.replacement && entry.category_title && html`<${Category} entry=${entry} />`}
        <${Evidence} note=${note} entry=${entry} />
        ${about.map((finding) => html`<${Finding} note=${note} finding=${finding} open=${selected} />`)}
        ${selected && !note.finished && entry.alternatives.length > 0 && html`<${Alternatives} note=${note} entry=${entry} />`}
        ${
          searching?.key === entry.key
            ? html`<${CodeSearch} label=${`Replace ${shown.code}`} query=${searching.query}
                onPick=${(hit) => decideOn(note, entry.key, "replaced", hit)} onCancel=${() => closeSearch(note, entry.key)} />`
            : html`<${Decision} note=${note} entry=${entry} isCandidate=${isCandidate} />`
        }
      </article>
    </li>`;
}

const Category = ({ entry }) => html`
  <p class="small quiet-text">Category ${entry.category}: ${entry.category_title}</p>`;

function Confidence({ note, entry }) {
  if (entry.replacement || entry.confidence === null) {
    const byReviewer = entry.replacement || entry.from === "reviewer";
    return html`<p class="confidence small quiet-text">${byReviewer ? "chosen by you" : "no score"}</p>`;
  }
  return html`
    <p class="confidence">
      <span class="bar"><span style=${{ width: `${entry.confidence * 100}%` }}></span></span>
      <span class="percent"><span class="hidden">Confidence </span>${Math.round(entry.confidence * 100)} %</span>
      ${!note.answer.calibrated && html`<span class="small quiet-text">not calibrated</span>`}
    </p>`;
}

function Evidence({ note, entry }) {
  if (!entry.evidence.length) {
    return entry.from !== "reviewer" && html`<p class="small quiet-text">No words of the text were found for this code.</p>`;
  }
  const quotes = entry.evidence.map((span) => {
    const said = describeAssertion(span);
    const tag = said && html` <span class="tag">${said}${span.trigger ? `: ${span.trigger}` : ""}</span>`;
    const text = cutShort(note.text.slice(span.start, span.end));
    return html`<span class=${`quote ${span.assertion}`}>“${text}”${tag}</span> `;
  });
  return html`<p class="small"><span class="hidden">Evidence: </span>${quotes}</p>`;
}

const cutShort = (text) => (text.length > 90 ? `${text.slice(0, 88).trimEnd().toWellFormed()} …` : text);

export function Finding({ note, finding, open }) {
  const words = { error: "Error", warning: "Check", info: "Note" };
  const suggestions = open && !note.finished ? finding.suggestions.slice(0, MOST_SUGGESTIONS) : [];
  const links = suggestions.map(
    (code) => html` <${Button} class="link" onClick=${() => openSearch(note, "new", code)}>${code}</${Button}>`,
  );
  return html`
    <div class=${`finding ${finding.severity}`}>
      <p><strong>${words[finding.severity]}:</strong> ${finding.message}</p>
      ${open && finding.text && html`<p class="small quiet-text">${finding.node}: “${finding.text}”</p>`}
      ${links.length > 0 && html`<p class="small">Look for ${links}</p>`}
    </div>`;
}

function Alternatives({ note, entry }) {
  const take = (other) => () => decideOn(note, entry.key, "replaced", other);
  const draw = ({ code, title, confidence }) => html`
    <li key=${code}>
      <${Button} title=${`Replace ${entry.code} by ${code}`} onClick=${take({ code, title })}>
        <span class="code">${code}</span><span>${title}</span><span class="percent">${Math.round(confidence * 100)} %</span>
      </${Button}>
    </li>`;
  return html`<div class="alternatives"><h4>Alternatives</h4><ul>${entry.alternatives.map(draw)}</ul></div>`;
}

function Decision({ note, entry, isCandidate }) {
  const name = getShown(entry).code;
  const act = (decision) => () => decideOn(note, entry.key, decision);
  if (note.finished) return entry.decision && html`<p class="decision">${DECISIONS[entry.decision]}</p>`;
  const replace = () => openSearch(note, entry.key);
  const sign = entry.decision === "rejected" ? "reject" : "accept";
  const decided = html`
    <span class="decision"><${Icon} name=${sign} />${DECISIONS[entry.decision]}</span>
    <${Button} icon="undo" class="quiet" aria-label=${`Undo the decision on ${name}`} onClick=${act(null)}>Undo</${Button}>`;
  const open = html`
    <span class="print-only">Not decided</span>
    <${Button} icon="accept" class="accept" aria-label=${`Accept ${name}`} onClick=${act("accepted")}>Accept</${Button}>
    ${
      !isCandidate &&
      html`
      <${Button} icon="reject" class="reject" aria-label=${`Reject ${name}`} onClick=${act("rejected")}>Reject</${Button}>
      <${Button} icon="replace" aria-label=${`Replace ${name}`} onClick=${replace}>Replace</${Button}>`
    }`;
  return html`
    <div class="buttons">
      ${entry.decision ? decided : open}
      ${!isCandidate && note.entries.length > 1 && html`<${Order} note=${note} entry=${entry} name=${name} />`}
    </div>`;
}

function Order({ note, entry, name }) {
  const place = note.entries.indexOf(entry);
  const go = (by) => () => move(note, entry.key, by);
  return html`
    <span class="push order">
      <${IconButton} icon="up" label=${`Move ${name} up`} disabled=${place === 0} onClick=${go(-1)} />
      <${IconButton} icon="down" label=${`Move ${name} down`} disabled=${place === note.entries.length - 1} onClick=${go(1)} />
    </span>`;
}
