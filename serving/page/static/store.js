/** The state of the tab, kept in sessionStorage so that a reload loses nothing and closing the tab leaves nothing. */

import { useEffect, useState } from "./vendor/preact-htm.js";

const PLACE = "icdtune.session";
const SAVE_AFTER = 250;
const KEPT = ["notes", "current", "draft", "composing", "reviewer", "shortcuts", "paused"];

const EMPTY_CONTEXT = { sex: "", age: "", encounter: "", service_date: "" };
export const EMPTY_DRAFT = { text: "", name: "", context: EMPTY_CONTEXT, replaces: null };

const build = () => ({
  notes: [],
  current: null,
  draft: EMPTY_DRAFT,
  composing: true,
  reviewer: "",
  shortcuts: true,
  paused: false,
  about: null,
  down: null,
  dialog: null,
  message: "",
  n_said: 0,
  tooLarge: false,
  searching: null,
});

let state = { ...build(), ...readKept() };
let timer = null;
const listeners = new Set();

export const getState = () => state;

/** Change some fields of the state; every component that uses it is drawn again. */
export function change(fields) {
  state = { ...state, ...fields };
  if ("message" in fields) state.n_said += 1;
  timer ??= setTimeout(save, SAVE_AFTER);
  for (const listener of listeners) listener(state);
}

export const say = (message) => change({ message });

/** Change one note: `edit` gets it and returns the fields that are new. */
export function changeNote(id, edit) {
  change({ notes: state.notes.map((note) => (note.id === id ? { ...note, ...edit(note) } : note)) });
}

export const findNote = (id = state.current) => state.notes.find((note) => note.id === id) ?? null;

/** Forget notes, codes, decisions, the key and the theme: the tab is as new. */
export function forgetAll() {
  sessionStorage.clear();
  delete document.documentElement.dataset.theme;
  change({ ...build(), about: state.about, message: "Everything is forgotten." });
}

export function useStore() {
  const [, draw] = useState(state);
  useEffect(() => {
    listeners.add(draw);
    return () => listeners.delete(draw);
  }, []);
  return state;
}

/** Write what survives a reload. What can be undone is not part of it. */
export function save() {
  clearTimeout(timer);
  timer = null;
  const kept = Object.fromEntries(KEPT.map((name) => [name, state[name]]));
  const notes = state.notes.map((note) => ({ ...note, past: [] }));
  let tooLarge = false;
  try {
    sessionStorage.setItem(PLACE, JSON.stringify({ ...kept, notes }));
  } catch {
    sessionStorage.removeItem(PLACE);
    tooLarge = state.notes.length > 0;
  }
  if (tooLarge !== state.tooLarge) change({ tooLarge });
}

function readKept() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(PLACE)) ?? {};
    const notes = (kept.notes ?? []).map((note) => (note.status === "running" ? { ...note, status: "waiting" } : note));
    return { ...kept, notes };
  } catch {
    return {};
  }
}

addEventListener("pagehide", () => timer && save());
addEventListener("beforeunload", (event) => state.tooLarge && event.preventDefault());
