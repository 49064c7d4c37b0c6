/** What buttons and keys do. Each changes the store, tells the live region, and moves the focus where the work goes on. */

import { askJson } from "./api.js";
import { tidyText } from "./offsets.js";
import { readFiles } from "./reading.js";
import { addCode, buildNote, countUndecided, decide, findEntry, findNeighbour, findUndecided } from "./review.js";
import { listCurrent, listDecisions, listFinal, moveEntry, undo } from "./review.js";
import { readContext, runQueue } from "./runner.js";
import { EMPTY_DRAFT, change, changeNote, findNote, forgetAll, getState, say } from "./store.js";

const TEXT_FILE = /\.(csv|tsv|jsonl?|ndjson)$/i;

/** Code what stands in the composer. */
export function codeDraft() {
  const { draft, notes, about } = getState();
  const text = tidyText(draft.text);
  const most = about?.limits?.max_text_characters ?? 1_000_000;
  if (!text.trim()) return focusOn("#text", "There is no text to code yet.");
  if (text.length > most)
    return say(`The text is longer than the ${most.toLocaleString("en")} characters that the server takes.`);
  const name = draft.name || `Note ${notes.length + (draft.replaces ? 0 : 1)}`;
  const note = buildNote(name, text, draft.context);
  const place = notes.findIndex((other) => other.id === draft.replaces);
  const others = place < 0 ? [...notes, note] : notes.with(place, note);
  change({ notes: others, current: note.id, composing: false, draft: EMPTY_DRAFT, message: "Coding …" });
  focusOn("#codes-title");
  return runQueue();
}

/** Take files: one text file goes into the composer to be looked at, all else into the queue. */
export async function takeFiles(files) {
  if (!files.length) return;
  const { rows, problems } = await readFiles(files);
  const { draft, composing, notes } = getState();
  if (problems.length) change({ dialog: { name: "problems", problems } });
  if (!rows.length) return;
  if (rows.length === 1 && composing && !draft.text.trim() && !TEXT_FILE.test(files[0].name)) {
    change({ draft: { ...draft, text: rows[0].text, name: rows[0].name } });
    focusOn("#text", `${rows[0].name} is read.`);
    return;
  }
  const added = rows.map((row) => buildNote(row.name, row.text, row.context));
  const current = composing ? added[0].id : getState().current;
  change({ notes: [...notes, ...added], current, composing: false, message: `${added.length} notes in the queue.` });
  await runQueue();
}

export const compose = () => {
  change({ composing: true, draft: getState().draft.replaces ? EMPTY_DRAFT : getState().draft });
  focusOn("#text");
};

/** Put a note back into the composer; it is replaced when it is coded again. */
export function editNote(note) {
  const edit = () => {
    change({
      composing: true,
      dialog: null,
      draft: { text: note.text, name: note.name, context: note.context, replaces: note.id },
    });
    focusOn("#text");
  };
  if (!note.entries.some((entry) => entry.decision)) return edit();
  const question = "Coding the text again takes back the decisions made on this note.";
  return change({ dialog: { name: "confirm", title: "Edit the text?", question, action: "Edit", run: edit } });
}

export function removeNote(note) {
  const remove = () => {
    const notes = getState().notes.filter((other) => other.id !== note.id);
    change({
      notes,
      current: notes[0]?.id ?? null,
      composing: !notes.length,
      dialog: null,
      message: `${note.name} is removed.`,
    });
  };
  const question = "Its text, codes and decisions are forgotten.";
  change({ dialog: { name: "confirm", title: `Remove ${note.name}?`, question, action: "Remove", run: remove } });
}

export function forget() {
  const question = "All notes, codes, decisions and the key are removed from this tab. What was downloaded or sent stays.";
  change({ dialog: { name: "confirm", title: "Forget everything?", question, action: "Forget everything", run: forgetAll } });
}

export const openNote = (id) => change({ current: id, composing: false, searching: null });

/** Go to the next note of the queue whose review is not finished. */
export function goToNextNote(by = 1) {
  const { notes, current } = getState();
  const place = notes.findIndex((note) => note.id === current);
  const around =
    by > 0 ? [...notes.slice(place + 1), ...notes.slice(0, Math.max(place, 0))] : notes.slice(0, Math.max(place, 0)).reverse();
  const next = around.find((note) => note.status === "done" && !note.finished) ?? (by > 0 ? around[0] : around.at(-1));
  if (!next) return say("There is no other note.");
  openNote(next.id);
  return focusOn("#codes-title", `${next.name}.`);
}

export function select(note, key, { focus = false } = {}) {
  if (note.selected !== key) changeNote(note.id, () => ({ selected: key }));
  if (focus) focusOn(`[data-entry="${key}"] .card-head`);
}

export function selectNeighbour(note, by) {
  const shown = document.querySelector(".candidates")?.open ?? false;
  const key = findNeighbour(note, by, shown);
  if (key !== null) select(note, key, { focus: true });
}

/** Decide on a code and go on to the next one without a decision. */
export function decideOn(note, key, decision, replacement = null) {
  const entry = findEntry(note, key);
  if (!entry || refuseFinished(note)) return;
  if (replacement && listCurrent(note).includes(replacement.code))
    return void say(`${replacement.code} is in the list already.`);
  edit(note.id, (before) => decide(before, key, decision, replacement));
  const said =
    decision === null
      ? `${entry.code}: decision taken back.`
      : `${entry.code} ${decision}${replacement ? ` by ${replacement.code}` : ""}.`;
  const after = findNote(note.id);
  const next =
    decision === null
      ? (findEntry(after, key)?.key ?? after.entries[0]?.key ?? null)
      : findUndecided({ ...after, selected: key });
  change({ searching: null, message: said });
  if (next !== null) select(after, next, { focus: true });
  else focusOn("#finish", `${said} All codes are decided.`);
}

export function add(note, hit) {
  if (refuseFinished(note)) return;
  if (listCurrent(note).includes(hit.code)) return void say(`${hit.code} is in the list already.`);
  edit(note.id, (before) => addCode(before, hit));
  change({ searching: null });
  focusOn("#add-code", `${hit.code} added.`);
}

export function move(note, key, by) {
  if (refuseFinished(note)) return;
  edit(note.id, (before) => moveEntry(before, key, by));
  const place = findNote(note.id).entries.findIndex((entry) => entry.key === key) + 1;
  focusOn(`[data-entry="${key}"] .card-head`, `Now number ${place}${place === 1 ? ", the principal diagnosis" : ""}.`);
}

export function undoLast(note) {
  if (refuseFinished(note)) return;
  if (!note.past.length) return void say("There is nothing to undo.");
  edit(note.id, undo);
  const key = findNote(note.id).selected;
  if (key !== null) focusOn(`[data-entry="${key}"] .card-head`, "The last change is undone.");
}

/** Open the search that replaces a code (`key`) or adds one (`"new"`). */
export function openSearch(note, key, query = "") {
  if (refuseFinished(note)) return;
  if (key !== "new") select(note, key);
  change({ searching: { key, query } });
}

export function closeSearch(note, key) {
  change({ searching: null });
  focusOn(key === "new" ? "#add-code" : `[data-entry="${key}"] .card-head`);
}

export function changeContext(note, context) {
  edit(note.id, () => ({ context }));
}

/** End the review of a note: its decisions go to the server's audit log. */
export async function finish(note) {
  if (refuseFinished(note)) return;
  const left = countUndecided(note);
  if (left) {
    select(note, findUndecided({ ...note, selected: null }), { focus: true });
    return void say(`${left} ${left === 1 ? "code is" : "codes are"} not decided yet.`);
  }
  const { reviewer } = getState();
  const final_codes = listFinal(note).map((shown) => shown.code);
  const body = {
    request_id: note.answer.request_id,
    decisions: listDecisions(note),
    final_codes,
    reviewer: reviewer.trim() || null,
  };
  try {
    const { sequence, hash } = await askJson("v1/decisions", { body });
    changeNote(note.id, () => ({ finished: { reviewer: reviewer.trim(), sequence, hash, at: new Date().toISOString() } }));
    const more = getState().notes.some((other) => other.status === "done" && !other.finished);
    focusOn("#codes-title", `Review finished${more ? "; n goes to the next note" : ""}.`);
  } catch (problem) {
    if (problem.status === 401) change({ dialog: { name: "key" } });
    say(`The decisions were not recorded, and are kept here: ${problem.message}.`);
  }
}

export const reopen = (note) => changeNote(note.id, () => ({ finished: null }));

/**
 * Focus an element once it is drawn, and say something. Changes are drawn in a microtask, so this one comes after it and
 * before the next key: what is typed quickly goes where it belongs.
 */
export function focusOn(selector, message) {
  if (message) say(message);
  queueMicrotask(() => document.querySelector(selector)?.focus());
}

function refuseFinished(note) {
  if (note.finished) say("This review is finished: reopen it to change it.");
  return Boolean(note.finished);
}

const checks = new Map();

/** Change a note and ask the rules about its codes again. */
function edit(id, editing) {
  const before = findNote(id);
  changeNote(id, editing);
  const note = findNote(id);
  const unchanged = String(listCurrent(before)) === String(listCurrent(note)) && before.context === note.context;
  if (note.status === "done" && !unchanged) return checkAgain(note);
  return undefined;
}

async function checkAgain(note) {
  checks.get(note.id)?.abort();
  const check = new AbortController();
  checks.set(note.id, check);
  const codes = listCurrent(note);
  try {
    const body = { codes, ...readContext(note.context) };
    const { findings } = codes.length ? await askJson("v1/check", { body, signal: check.signal }) : { findings: [] };
    const remarks = note.remarks.filter((remark) => remark.codes.every((code) => codes.includes(code)));
    // as in the answer, reminders of instructions that may not apply are left out
    const told = findings.filter((finding) => finding.severity !== "info");
    changeNote(note.id, () => ({ findings: [...remarks, ...told], stale: "" }));
  } catch (problem) {
    if (problem.name !== "AbortError") changeNote(note.id, () => ({ stale: problem.message }));
  }
}
