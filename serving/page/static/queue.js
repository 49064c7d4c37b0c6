/** The notes of the session: how far they are, and the way from one to the next. */

import { compose, openNote, removeNote } from "./actions.js";
import { Button, IconButton } from "./controls.js";
import { countUndecided } from "./review.js";
import { retryFailed, runQueue, stopQueue } from "./runner.js";
import { html } from "./vendor/preact-htm.js";

export function Queue({ notes, current, composing, paused }) {
  const count = (...statuses) => notes.filter((note) => statuses.includes(note.status)).length;
  const [done, failed, left] = [count("done"), count("failed"), count("waiting", "running")];
  const finished = notes.filter((note) => note.finished).length;
  const said = `${done} coded, ${left} left${failed ? `, ${failed} failed` : ""}`;
  return html`
    <aside class="queue" aria-labelledby="queue-title">
      <div class="panel-head">
        <h2 id="queue-title">Notes</h2>
        <${Button} icon="plus" class="quiet" onClick=${compose}>New</${Button}>
      </div>
      <progress max=${notes.length} value=${done + failed} aria-label="Notes coded"></progress>
      <p class="small quiet-text" id="queue-count">${said}; ${finished} reviewed</p>
      <div class="buttons">
        ${left > 0 && !paused && html`<${Button} onClick=${stopQueue}>Stop</${Button}>`}
        ${left > 0 && paused && html`<${Button} class="main" onClick=${runQueue}>Continue</${Button}>`}
        ${failed > 0 && html`<${Button} onClick=${retryFailed}>Retry ${failed} failed</${Button}>`}
      </div>
      <ol class="queue-list">
        ${notes.map((note) => html`<${Row} key=${note.id} note=${note} isCurrent=${!composing && note.id === current} />`)}
      </ol>
    </aside>`;
}

function Row({ note, isCurrent }) {
  return html`
    <li class=${isCurrent ? "current" : ""}>
      <${Button} class="row" aria-current=${isCurrent ? "true" : undefined} onClick=${() => openNote(note.id)}>
        <span class="row-name">${note.name}</span>
        <span class=${`small state ${note.finished ? "finished" : note.status}`}>${describeState(note)}</span>
      </${Button}>
      <${IconButton} icon="remove" label=${`Remove ${note.name}`} onClick=${() => removeNote(note)} />
    </li>`;
}

function describeState(note) {
  if (note.finished) return "reviewed";
  if (note.status === "waiting") return "waits";
  if (note.status === "running") return "is being coded";
  if (note.status === "failed") return "failed";
  if (note.answer.abstained && !note.entries.length) return "no sure code";
  const left = countUndecided(note);
  return left ? `${left} to decide` : "all decided";
}
