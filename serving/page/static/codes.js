/** The codes of a note: banners for what a coder must know, the list, candidates, adding, the end of the review. */

import { add, closeSearch, editNote, finish, goToNextNote, openSearch, reopen } from "./actions.js";
import { Card, Finding } from "./card.js";
import { Button } from "./controls.js";
import { countUndecided, listFinal } from "./review.js";
import { retryFailed, runQueue } from "./runner.js";
import { CodeSearch } from "./search.js";
import { change, getState } from "./store.js";
import { html } from "./vendor/preact-htm.js";

const NOT_SURE = ["The model is not sure of any code.", "A person should code this note; candidates are below."];
const NO_CODES = ["No codes.", "The model found nothing to code in this text; a person should. Codes can be added by search."];

export function Codes({ note, ...rest }) {
  const isDone = note.status === "done";
  return html`
    <section class="codes" aria-labelledby="codes-title">
      <div class="panel-head">
        <h2 id="codes-title" tabindex="-1">Codes</h2>
        ${isDone && html`<span class="small quiet-text">${describeProgress(note)}</span>`}
      </div>
      ${isDone ? html`<${Review} note=${note} ...${rest} />` : html`<${Pending} note=${note} />`}
    </section>`;
}

function Pending({ note }) {
  if (note.status === "failed") {
    return html`
      <div class="banner error" role="alert">
        <p><strong>This note was not coded.</strong> ${note.error}</p>
        <div class="buttons">
          <${Button} onClick=${retryFailed}>Retry</${Button}>
          <${Button} class="quiet" onClick=${() => editNote(note)}>Edit the text</${Button}>
        </div>
      </div>`;
  }
  if (getState().paused) {
    return html`
      <div class="banner">
        <p>This note waits.</p>
        <div class="buttons"><${Button} class="main" onClick=${runQueue}>Continue</${Button}></div>
      </div>`;
  }
  return html`
    <div class="waiting" aria-hidden="true"><span></span><span></span><span></span></div>
    <p class="quiet-text">${note.status === "running" ? "The model is reading the note …" : "Waiting …"}</p>`;
}

function Review({ note, searching, reviewer, onLook }) {
  const draw = (entry) =>
    html`<${Card} key=${entry.key} note=${note} entry=${entry} searching=${searching} onLook=${onLook} />`;
  const general = note.findings.filter((finding) => !finding.codes.length);
  return html`
    <${Banners} note=${note} />
    ${general.map((finding) => html`<${Finding} note=${note} finding=${finding} open=${true} />`)}
    <ol class="cards" aria-label="Codes, principal diagnosis first">${note.entries.map(draw)}</ol>
    ${!note.finished && html`<${Adding} note=${note} query=${searching?.key === "new" ? searching.query : null} />`}
    ${note.candidates.length > 0 && html`<${Candidates} note=${note} draw=${draw} />`}
    <${Ending} note=${note} reviewer=${reviewer} />`;
}

function Adding({ note, query }) {
  if (query === null) {
    const open = () => openSearch(note, "new");
    return html`<${Button} icon="plus" id="add-code" class="wide" onClick=${open}>Add a code</${Button}>`;
  }
  return html`
    <div class="panel">
      <${CodeSearch} key=${query} label="Add a code" query=${query}
        onPick=${(hit) => add(note, hit)} onCancel=${() => closeSearch(note, "new")} />
    </div>`;
}

function Candidates({ note, draw }) {
  const count = `${note.candidates.length} ${note.candidates.length === 1 ? "candidate" : "candidates"}`;
  return html`
    <details class="candidates" open=${note.answer.abstained}>
      <summary>${count} below the threshold of ${Math.round(note.answer.threshold * 100)} %</summary>
      <p class="small quiet-text">The model wrote these too, but was not sure. They count only when accepted.</p>
      <ol class="cards" aria-label="Candidates">${note.candidates.map(draw)}</ol>
    </details>`;
}

function Banners({ note }) {
  const { abstained, truncated, n_parts, calibrated, model, release } = note.answer;
  const facts = [`ICD-10-CM ${release}, ${model.name}`];
  if (n_parts > 1) facts.push(`read in ${n_parts} parts`);
  if (!calibrated) facts.push("confidence is not calibrated: read it as a ranking, not as a probability");
  const warn = (title, words) => html`<div class="banner warning"><p><strong>${title}</strong> ${words}</p></div>`;
  return html`
    ${abstained && (note.candidates.length ? warn(...NOT_SURE) : warn(...NO_CODES))}
    ${truncated && warn("The note was cut.", "It is longer than the model reads, so codes may be missing.")}
    ${note.stale && warn("Findings are not up to date.", `${note.stale}.`)}
    <p class="small quiet-text">${facts.join("; ")}.</p>`;
}

function Ending({ note, reviewer }) {
  if (note.finished) {
    const { reviewer: who, sequence } = note.finished;
    const by = who && ` by ${who}`;
    return html`
      <div class="ending finished">
        <p><strong>Reviewed${by}.</strong> ${listFinal(note).length} codes; entry ${sequence} of the audit log.</p>
        <div class="buttons">
          <${Button} id="finish" class="main" onClick=${() => goToNextNote()}>Next note <kbd>n</kbd></${Button}>
          <${Button} onClick=${() => reopen(note)}>Reopen</${Button}>
        </div>
      </div>`;
  }
  return html`
    <div class="ending">
      <label>Reviewer <input type="text" autocomplete="off" maxlength="80" value=${reviewer} placeholder="Initials"
        onInput=${(event) => change({ reviewer: event.target.value })} /></label>
      <${Button} id="finish" class=${countUndecided(note) ? "" : "main"} onClick=${() => finish(note)}>
        Finish review <kbd>f</kbd></${Button}>
    </div>`;
}

function describeProgress(note) {
  if (!note.entries.length) return "";
  const left = countUndecided(note);
  return left ? `${note.entries.length - left} of ${note.entries.length} decided` : `all ${note.entries.length} decided`;
}
