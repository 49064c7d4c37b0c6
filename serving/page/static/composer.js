/** Where a note is pasted, dropped or typed, with what is known of the patient. */

import { codeDraft, takeFiles } from "./actions.js";
import { Button } from "./controls.js";
import { EMPTY_DRAFT, change, getState } from "./store.js";
import { html, useRef } from "./vendor/preact-htm.js";

const SEXES = { "": "Not given", F: "Female", M: "Male" };
const ENCOUNTERS = { "": "Not given", initial: "Initial", subsequent: "Subsequent", sequela: "Sequela" };

const EXAMPLE = `Discharge summary (invented)

67-year-old woman, type 2 diabetes mellitus with foot ulcer of the right heel, essential hypertension and
stage 3a chronic kidney disease. Admitted for wound care. Denies chest pain.

Family history: mother with breast cancer.

Plan: offloading, dressing changes, metformin and lisinopril continued.`;

export function Composer({ draft, canGoBack }) {
  const files = useRef(null);
  const put = (fields) => change({ draft: { ...getState().draft, ...fields } });
  const press = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) codeDraft();
  };
  const showExample = () => put({ text: EXAMPLE, context: { ...draft.context, sex: "F", age: "67" } });
  const goBack = () => change({ composing: false, draft: draft.replaces ? EMPTY_DRAFT : draft });
  const choose = async ({ target }) => {
    await takeFiles([...target.files]);
    target.value = "";
  };
  return html`
    <section class="composer" aria-labelledby="composer-title">
      <h2 id="composer-title">${draft.replaces ? `Edit ${draft.name}` : "Code a note"}</h2>
      <p class="lead">Paste a note, type a phrase, or drop files anywhere on this page.</p>
      <div class="panel" onKeyDown=${press}>
        <label class="hidden" for="text">Text of the note</label>
        <textarea id="text" rows="11" spellcheck="false" value=${draft.text}
          placeholder="T2DM w/ foot ulcer, HTN. Denies chest pain."
          onInput=${(event) => put({ text: event.target.value })}></textarea>
        <${ContextFields} context=${draft.context} onChange=${(context) => put({ context })} />
        <div class="buttons">
          <${Button} class="main" id="code" onClick=${codeDraft}>Code <kbd>Ctrl ↵</kbd></${Button}>
          <${Button} icon="file" onClick=${() => files.current.click()}>Choose files</${Button}>
          <input ref=${files} id="files" type="file" multiple hidden aria-label="Files with notes"
            accept=".txt,.text,.md,.csv,.tsv,.json,.jsonl,.ndjson,text/*"
            onChange=${choose} />
          ${!draft.text && html`<${Button} class="quiet" onClick=${showExample}>Try an example</${Button}>`}
          ${canGoBack && html`<${Button} class="quiet push" onClick=${goBack}>Back to the notes</${Button}>`}
        </div>
      </div>
      <p class="small quiet-text">
        One text file is opened here. Several files, CSV, JSON and JSONL become a queue and are coded one after the other.
        Columns: <code>text</code>, and if you like <code>id, sex, age, encounter, service_date</code>.
      </p>
    </section>`;
}

/** What is known of the patient and the encounter; all optional. */
export function ContextFields({ context, onChange, disabled = false }) {
  const put = (name) => (event) => onChange({ ...context, [name]: event.target.value });
  return html`
    <fieldset class="fields" disabled=${disabled}>
      <legend class="hidden">Patient and encounter, optional</legend>
      <label>Sex <${Select} value=${context.sex} names=${SEXES} onChange=${put("sex")} /></label>
      <label>Age, years <input type="number" min="0" max="150" step="any" inputmode="decimal" value=${context.age}
        onInput=${put("age")} /></label>
      <label>Encounter <${Select} value=${context.encounter} names=${ENCOUNTERS} onChange=${put("encounter")} /></label>
      <label>Service date <input type="date" value=${context.service_date} onInput=${put("service_date")} /></label>
    </fieldset>`;
}

const Select = ({ value, names, onChange }) => html`
  <select value=${value} onChange=${onChange}>
    ${Object.entries(names).map(([key, name]) => html`<option value=${key} selected=${key === value}>${name}</option>`)}
  </select>`;

export function describeContext({ sex, age, encounter, service_date }) {
  const said = [
    sex && SEXES[sex],
    age !== "" && `${age} years`,
    encounter && `${ENCOUNTERS[encounter].toLowerCase()} encounter`,
    service_date,
  ];
  return said.filter(Boolean).join(", ");
}
