/** Files to take away. CSV and FHIR are written by the server, the rest here. */

import { ask } from "./api.js";
import { listDecisions, listFinal } from "./review.js";
import { readContext } from "./runner.js";

/** Notes whose review is finished. */
export const listReviewed = (notes) => notes.filter((note) => note.finished);

/** What can be exported, each with the function that writes it and returns the file's name. */
export const EXPORTS = [
  { id: "csv", name: "CSV", words: "one row per code", holdsText: false, write: (notes) => exportByServer(notes, "csv") },
  {
    id: "fhir",
    name: "FHIR",
    words: "a Bundle of Conditions",
    holdsText: false,
    write: (notes) => exportByServer(notes, "fhir"),
  },
  { id: "json", name: "JSON", words: "notes, codes, decisions, findings", holdsText: true, write: exportSession },
  { id: "training", name: "Training rows", words: "JSONL for data_gen and finetune", holdsText: true, write: exportTraining },
  {
    id: "decisions",
    name: "Decisions",
    words: "JSONL, one line per note, with the audit entry",
    holdsText: false,
    write: exportDecisions,
  },
];

const MEDIA = { csv: ["text/csv", "csv"], fhir: ["application/fhir+json", "json"] };

async function exportByServer(notes, format) {
  const [accept, ending] = MEDIA[format];
  const items = listReviewed(notes)
    .map(buildList)
    .filter((list) => list.codes.length);
  if (!items.length) throw new Error("no reviewed note has codes");
  const reply = await ask("v1/export", { body: { items }, accept, query: { format } });
  return download(`codes.${format === "fhir" ? "fhir." : ""}${ending}`, await reply.blob());
}

const buildList = (note) => ({
  request_id: note.answer.request_id,
  id: note.name,
  codes: listFinal(note).map(({ code }) => code),
});

const writeLines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

function exportSession(notes) {
  const rows = listReviewed(notes).map((note) => ({
    ...describe(note),
    text: note.text,
    ...readContext(note.context),
    codes: listFinal(note).map(({ code, title }) => ({ code, title })),
    decisions: listDecisions(note),
    findings: note.findings,
  }));
  return download("reviewed.json", JSON.stringify({ notes: rows }, null, 1), "application/json");
}

/** Rows that `data_gen.examples.read_examples` reads. A note left without codes teaches nothing and is not among them. */
function exportTraining(notes) {
  const rows = listReviewed(notes).map((note) => ({
    id: `review-${note.answer.request_id}`,
    scenario: nameScenario(note),
    text: note.text,
    codes: listFinal(note).map(({ code }) => code),
    split: "train",
    source: "review",
    release: note.answer.release,
  }));
  return download("training.jsonl", writeLines(rows.filter((row) => row.codes.length)), "application/jsonl");
}

/** A text of several lines or sentences is a note; a phrase is measured by what it names. */
function nameScenario(note) {
  const text = note.text.trim();
  if (text.includes("\n") || text.length > 200) return "note";
  return listFinal(note).length > 1 ? "multiple" : "paraphrased";
}

function exportDecisions(notes) {
  const rows = listReviewed(notes).map((note) => ({
    ...describe(note),
    decisions: listDecisions(note),
    final_codes: listFinal(note).map(({ code }) => code),
  }));
  return download("decisions.jsonl", writeLines(rows), "application/jsonl");
}

function describe(note) {
  const { request_id, release, model, threshold, calibrated } = note.answer;
  return { id: note.name, request_id, release, model, threshold, calibrated, review: note.finished };
}

function download(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], type ? { type } : {}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return name;
}
