/** Codes the notes that wait, one request at a time; a server that is away is waited for, and nothing is lost. */

import { Problem, ask, askJson, readRows } from "./api.js";
import { openReview } from "./review.js";
import { change, changeNote, findNote, getState, say } from "./store.js";

const MOST_TRIES = 3;
const MOST_ITEMS = 32;
const MOST_CHARACTERS = 1_000_000;

let running = null;
let wake = () => {};

/** The fields of a request about this patient and encounter; what was not given is left out. */
export function readContext({ sex, age, encounter, service_date }) {
  const context = { sex, age: age === "" ? "" : Number(age), encounter, service_date };
  return Object.fromEntries(Object.entries(context).filter(([, value]) => value !== ""));
}

/** Code what waits, until nothing does. */
export async function runQueue() {
  if (running) return;
  running = new AbortController();
  change({ paused: false, down: null });
  try {
    for (let taken; (taken = takeNotes()).length > 0;) {
      for (const note of taken) changeNote(note.id, () => ({ status: "running" }));
      if (!(await codeNotes(taken))) break;
    }
  } finally {
    running = null;
    change({ down: null });
  }
}

export function stopQueue() {
  change({ paused: true });
  running?.abort();
  wake();
}

export const tryNow = () => wake();

/** Put the failed notes back into the queue. */
export function retryFailed() {
  for (const note of getState().notes) {
    if (note.status === "failed") changeNote(note.id, () => ({ status: "waiting", error: "", tries: 0 }));
  }
  return runQueue();
}

function takeNotes() {
  const waiting = getState().notes.filter((note) => note.status === "waiting");
  if (waiting[0]?.alone) return waiting.slice(0, 1);
  const most = Math.min(MOST_ITEMS, getState().about?.limits?.batch_items ?? MOST_ITEMS);
  let characters = 0;
  return waiting.slice(0, most).filter((note, place) => {
    characters += note.text.length;
    return !note.alone && (place === 0 || characters <= MOST_CHARACTERS);
  });
}

/** Code some notes; false when the queue is to stop. */
async function codeNotes(notes) {
  try {
    if (notes.length === 1)
      openNote(notes[0].id, await askJson("v1/coding", { body: buildItem(notes[0]), signal: running.signal }));
    else await codeBatch(notes);
    if (getState().down) change({ down: null });
    return true;
  } catch (problem) {
    return settle(notes, problem);
  }
}

async function codeBatch(notes) {
  const options = { body: { items: notes.map(buildItem) }, accept: "application/x-ndjson", signal: running.signal };
  const reply = await ask("v1/coding/batch", options);
  let passing = null;
  let isUp = false;
  for await (const { index, ...answer } of readRows(reply)) {
    const note = notes[index];
    if (!("error" in answer)) {
      openNote(note.id, answer);
      isUp = true;
    } else if ([429, 503].includes(answer.status) && findNote(note.id)?.tries < MOST_TRIES) passing = answer;
    else changeNote(note.id, () => ({ status: "failed", error: answer.error?.message ?? answer.error }));
  }
  const left = notes.filter((note) => findNote(note.id)?.status === "running");
  if (left.length) {
    // what fails while others succeed is not tried for ever
    if (isUp) for (const { id } of left) changeNote(id, (note) => ({ tries: note.tries + 1 }));
    throw new Problem(passing?.error ?? "The answer ended too early", { status: passing?.status ?? 0, retryAfter: 5 });
  }
}

const buildItem = (note) => ({ text: note.text, ...readContext(note.context) });

function openNote(id, answer) {
  changeNote(id, (note) => openReview(note, answer));
  const note = findNote(id);
  if (note && getState().current === id)
    say(`${note.name}: ${count(note.entries.length, "code")}, ${count(note.findings.length, "finding")}.`);
}

const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** What becomes of notes whose request failed; false when the queue is to stop. */
async function settle(notes, problem) {
  const left = notes.filter((note) => findNote(note.id)?.status === "running");
  const put = (fields) => left.forEach((note) => changeNote(note.id, () => fields));
  if (problem.name === "AbortError") {
    put({ status: "waiting" });
    return false;
  }
  if (problem.status === 401) {
    put({ status: "waiting" });
    change({ dialog: { name: "key" }, paused: true });
    return false;
  }
  if (problem.passes) {
    put({ status: "waiting" });
    return waitFor(problem);
  }
  if (left.length > 1) put({ status: "waiting", alone: true });
  else put({ status: "failed", error: problem.message });
  return true;
}

/** Wait as long as the server asks for; false when the coder stopped it. */
async function waitFor({ message, retryAfter }) {
  const seconds = retryAfter ?? 5;
  change({ down: { message, until: Date.now() + seconds * 1000 } });
  await new Promise((resolve) => {
    wake = resolve;
    setTimeout(resolve, seconds * 1000);
  });
  return !getState().paused;
}
