/** What a coder does with the codes of one note, as functions from a note to the fields of it that are new. */

import { mapOffsets } from "./offsets.js";

const MOST_UNDONE = 50;

/** Return a note that waits to be coded. */
export const buildNote = (name, text, context) => ({
  id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`,
  name,
  text,
  context,
  status: "waiting",
  error: "",
  tries: 0,
  alone: false,
  answer: null,
  entries: [],
  candidates: [],
  findings: [],
  remarks: [],
  selected: null,
  past: [],
  finished: null,
});

/** Return the fields of a note whose answer has come. */
export function openReview(note, answer) {
  const { codes, candidates, findings, ...facts } = answer;
  const toUnits = mapOffsets(note.text);
  let key = 0;
  const build = (from) => (coded) => ({
    ...coded,
    key: ++key,
    from,
    decision: null,
    replacement: null,
    evidence: coded.evidence.map((span) => ({ ...span, start: toUnits(span.start), end: toUnits(span.end) })),
  });
  const entries = codes.map(build("model"));
  return {
    status: "done",
    error: "",
    answer: facts,
    entries,
    candidates: candidates.map(build("candidate")),
    findings,
    // what the words of the note say about a code; a check of codes alone does not find it again
    remarks: findings.filter((finding) => finding.rule.endsWith("_evidence")),
    selected: entries[0]?.key ?? null,
    past: [],
    finished: null,
  };
}

/** The code that an entry stands for now. */
export const getShown = (entry) => entry.replacement ?? entry;

export const findEntry = (note, key) => [...note.entries, ...note.candidates].find((entry) => entry.key === key) ?? null;

export const countUndecided = (note) => note.entries.filter((entry) => !entry.decision).length;

/** Codes that stay, principal first: what the rules are asked about. */
export const listCurrent = (note) =>
  note.entries.filter((entry) => entry.decision !== "rejected").map((entry) => getShown(entry).code);

/** Codes that a coder decided for, principal first: what is exported. */
export const listFinal = (note) =>
  note.entries.filter((entry) => entry.decision && entry.decision !== "rejected").map(getShown);

export const listDecisions = (note) =>
  note.entries
    .filter((entry) => entry.decision)
    .map(({ code, decision, replacement, confidence }) => ({
      code,
      decision,
      replacement: replacement?.code ?? null,
      confidence: confidence ?? null,
    }));

/** Accept, reject or replace a code, or take its decision back with `null`. */
export function decide(note, key, decision, replacement = null) {
  const entry = findEntry(note, key);
  if (!entry) return {};
  const decided = { ...entry, decision, replacement };
  const others = (list) => list.filter((other) => other.key !== key);
  if (decision === null && entry.from === "reviewer") return remember(note, { entries: others(note.entries) });
  if (decision === null && entry.from === "candidate") {
    return remember(note, { entries: others(note.entries), candidates: [...others(note.candidates), decided] });
  }
  if (note.candidates.includes(entry)) {
    return remember(note, { entries: [...note.entries, decided], candidates: others(note.candidates) });
  }
  return remember(note, { entries: note.entries.map((other) => (other.key === key ? decided : other)) });
}

/** Add a code that the model did not write. */
export function addCode(note, { code, title }) {
  const key = 1 + Math.max(0, ...note.entries.map((entry) => entry.key), ...note.candidates.map((entry) => entry.key));
  const entry = { key, code, title, from: "reviewer", decision: "added", replacement: null, evidence: [], alternatives: [] };
  const added = { ...entry, category: code.slice(0, 3), category_title: "", billable: true, confidence: null };
  return { ...remember(note, { entries: [...note.entries, added] }), selected: key };
}

/** Move a code up (-1) or down (1) in the list. */
export function moveEntry(note, key, by) {
  const entries = [...note.entries];
  const place = entries.findIndex((entry) => entry.key === key);
  if (place < 0 || !entries[place + by]) return {};
  [entries[place], entries[place + by]] = [entries[place + by], entries[place]];
  return remember(note, { entries });
}

/** Return the note as it was before the last change. */
export function undo(note) {
  const before = note.past.at(-1);
  return before ? { ...before, past: note.past.slice(0, -1) } : {};
}

/** The code that comes `by` places after the selected one, candidates after the codes where they are shown. */
export function findNeighbour(note, by, withCandidates) {
  const keys = [...note.entries, ...(withCandidates ? note.candidates : [])].map((entry) => entry.key);
  const place = keys.indexOf(note.selected);
  if (place < 0) return keys[by > 0 ? 0 : keys.length - 1] ?? null;
  return keys[Math.min(Math.max(place + by, 0), keys.length - 1)];
}

/** The next code without a decision, from the selected one on and around. */
export function findUndecided(note) {
  const place = note.entries.findIndex((entry) => entry.key === note.selected);
  const around = [...note.entries.slice(place + 1), ...note.entries.slice(0, place + 1)];
  return around.find((entry) => !entry.decision)?.key ?? null;
}

function remember(note, fields) {
  const { entries, candidates, selected } = note;
  return { ...fields, past: [...note.past, { entries, candidates, selected }].slice(-MOST_UNDONE) };
}
