/** The page: header with the notice, the notes, the text, its codes, the footer. */

import { compose, takeFiles } from "./actions.js";
import { Problem, askJson, readKey } from "./api.js";
import { Codes } from "./codes.js";
import { Composer } from "./composer.js";
import { Dialogs, setTheme } from "./dialogs.js";
import { Button, Icon, IconButton } from "./controls.js";
import { press } from "./keys.js";
import { Queue } from "./queue.js";
import { runQueue, stopQueue, tryNow } from "./runner.js";
import { change, findNote, getState, useStore } from "./store.js";
import { NoteText } from "./text.js";
import { html, render, useEffect, useState } from "./vendor/preact-htm.js";

const NOTICE = "Decision support only: a certified coder decides.";

function App() {
  const state = useStore();
  const [lit, setLit] = useState(null);
  const [dragging, setDragging] = useState(false);
  useEffect(listen(setDragging), []);
  const note = state.composing ? null : findNote();
  const isQueue = state.notes.length > 1;
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Header} about=${state.about} hasNotes=${state.notes.length > 0} composing=${state.composing} />
    <${Down} down=${state.down} />
    ${state.tooLarge && html`<${TooLarge} />`}
    <div class=${`layout${isQueue ? " with-queue" : ""}`}>
      ${isQueue && html`<${Queue} ...${state} />`}
      <main id="main" tabindex="-1" class=${note ? "review" : ""}>
        ${
          note
            ? html`<${NoteText} key=${note.id} note=${note} lit=${lit} />
              <${Codes} note=${note} searching=${state.searching} reviewer=${state.reviewer} onLook=${setLit} />`
            : html`<${Composer} draft=${state.draft} canGoBack=${state.notes.length > 0} />`
        }
      </main>
    </div>
    <${Footer} about=${state.about} />
    <div class="message" role="status">${state.message && html`<p key=${state.n_said}>${state.message}</p>`}</div>
    ${dragging && html`<div class="drop" aria-hidden="true"><p>Drop files to code them</p></div>`}
    <${Dialogs} dialog=${state.dialog} notes=${state.notes} shortcuts=${state.shortcuts} onKey=${loadAbout} />`;
}

function skip(event) {
  event.preventDefault();
  document.querySelector("#main").focus();
}

function Header({ about, hasNotes, composing }) {
  const open = (name) => () => change({ dialog: { name } });
  const turn = () => setTheme(isDark() ? "light" : "dark");
  return html`
    <header class="top">
      <div class="top-row">
        <h1><img src="icon.svg" alt="" width="28" height="28" />ICDTune <span class="quiet-text">coding</span></h1>
        <nav aria-label="Tools">
          ${hasNotes && !composing && html`<${Tool} icon="plus" id="new-note" name="New note" onClick=${compose} />`}
          ${hasNotes && html`<${Tool} icon="export" id="export" name="Export" onClick=${open("export")} />`}
          <${IconButton} icon="help" label="Keyboard" onClick=${open("help")} />
          <${IconButton} icon="moon" id="theme" label="Light or dark" onClick=${turn} />
          <${IconButton} icon="settings" id="settings" label="Settings" onClick=${open("settings")} />
        </nav>
      </div>
      <p class="notice" role="note"><${Icon} name="person" />${about?.notice ?? NOTICE}</p>
    </header>`;
}

const TooLarge = () => html`
  <div class="banner warning page-banner" role="alert">
    <p>This session is too large to survive a reload: export what is finished before you leave.</p>
  </div>`;

const Tool = ({ name, ...rest }) => html`<${Button} ...${rest}><span class="wide-only">${name}</span></${Button}>`;

const isDark = () =>
  getComputedStyle(document.documentElement).colorScheme === "dark" ||
  (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);

function Down({ down }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = down && setInterval(() => tick((count) => count + 1), 500);
    return () => clearInterval(timer);
  }, [down]);
  if (!down) return null;
  const seconds = Math.max(0, Math.ceil((down.until - Date.now()) / 1000));
  return html`
    <div class="banner error page-banner" id="down">
      <p>
        <span role="alert"><strong>${down.message}.</strong> Nothing is lost; the page tries again by itself</span>${" "}
        <span aria-hidden="true">in ${seconds} s.</span>
      </p>
      <div class="buttons">
        <${Button} onClick=${tryNow}>Try now</${Button}>
        <${Button} class="quiet" onClick=${stopQueue}>Stop</${Button}>
      </div>
    </div>`;
}

function Footer({ about }) {
  const facts = about ? [`ICD-10-CM ${about.release}`, ...about.models.slice(0, 1), `ICDTune ${about.version}`] : [];
  return html`
    <footer>
      <p class="small quiet-text">
        Notes are sent to this server only and kept in this tab until it is closed. ${facts.join(", ")}
      </p>
    </footer>`;
}

/** Ask who answers here, and for a key where one is needed. */
async function loadAbout() {
  try {
    const about = await askJson("v1/about");
    change({ about });
    if (about.key_required && !readKey()) change({ dialog: { name: "key" } });
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) change({ dialog: { name: "key" } });
    else setTimeout(loadAbout, 1000 * (problem.retryAfter ?? 5));
  }
}

/** Return what starts to listen for keys and dropped files, and returns what ends it. */
const listen = (setDragging) => () => {
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const handlers = {
    keydown: press,
    dragover: (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      setDragging(true);
    },
    dragleave: (event) => event.relatedTarget ?? setDragging(false),
    drop: (event) => {
      setDragging(false);
      if (!holdsFiles(event)) return;
      event.preventDefault();
      takeFiles([...event.dataTransfer.files]);
    },
  };
  for (const [name, handler] of Object.entries(handlers)) addEventListener(name, handler);
  return () => Object.entries(handlers).forEach(([name, handler]) => removeEventListener(name, handler));
};

render(html`<${App} />`, document.querySelector("#page"));
loadAbout();
if (!getState().paused && getState().notes.some((note) => note.status === "waiting")) runQueue();
