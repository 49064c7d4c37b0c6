/** Keys that work wherever no field has the focus: one table for what they do and for the help that lists them. */

import { decideOn, finish, goToNextNote, move, openSearch, selectNeighbour, undoLast } from "./actions.js";
import { findEntry } from "./review.js";
import { change, findNote, getState, say } from "./store.js";

const FIELDS = "input, select, textarea, [contenteditable]";

const onSelected = (act) => (note) => {
  const entry = findEntry(note, note.selected);
  if (!entry) return say("No code is selected.");
  return act(note, entry, note.candidates.includes(entry));
};

const accept = onSelected((note, entry) => decideOn(note, entry.key, "accepted"));
const reject = onSelected((note, entry, isCandidate) =>
  isCandidate ? say("A candidate counts only when accepted.") : decideOn(note, entry.key, "rejected"),
);
const replace = onSelected((note, entry, isCandidate) =>
  isCandidate ? say("Accept the candidate first.") : openSearch(note, entry.key),
);

/** Keys, what they do in words, what they do. */
export const KEYS = [
  [["j", "ArrowDown"], "Next code", (note) => selectNeighbour(note, 1)],
  [["k", "ArrowUp"], "Previous code", (note) => selectNeighbour(note, -1)],
  [["a"], "Accept", accept],
  [["r"], "Reject", reject],
  [["e"], "Replace by search", replace],
  [["z"], "Undo the last change", undoLast],
  [["/"], "Add a code by search", (note) => openSearch(note, "new")],
  [["Alt+ArrowUp"], "Move the code up, to the principal place", onSelected((note, entry) => move(note, entry.key, -1))],
  [["Alt+ArrowDown"], "Move the code down", onSelected((note, entry) => move(note, entry.key, 1))],
  [["f"], "Finish the review of the note", finish],
  [["n"], "Next note to review", () => goToNextNote(1)],
  [["p"], "Previous note", () => goToNextNote(-1)],
];

/** Do what a pressed key stands for, unless someone is typing or a dialog is open. */
export function press(event) {
  const { dialog, shortcuts, composing } = getState();
  if (dialog || !shortcuts || event.ctrlKey || event.metaKey || event.target.closest(FIELDS)) return;
  if (event.key === "?") return void change({ dialog: { name: "help" } });
  const note = findNote();
  const named = event.altKey ? `Alt+${event.key}` : event.key;
  const [, , act] = KEYS.find(([keys]) => keys.includes(named)) ?? [];
  if (!act || composing || (note?.status !== "done" && !["n", "p"].includes(named))) return;
  // arrows scroll the page and walk through the note unless a code has the focus
  if (event.key.startsWith("Arrow") && !event.target.closest(".card")) return;
  event.preventDefault();
  act(note);
}
