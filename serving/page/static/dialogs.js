/** Dialogs: keys, settings, the API key, export, questions. The browser's own `dialog` keeps the focus inside. */

import { keepKey, readKey } from "./api.js";
import { forget } from "./actions.js";
import { Button } from "./controls.js";
import { EXPORTS, listReviewed } from "./exporting.js";
import { KEYS } from "./keys.js";
import { runQueue } from "./runner.js";
import { change, getState, say } from "./store.js";
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";

const close = () => change({ dialog: null });
const SIGNS = { ArrowDown: "↓", ArrowUp: "↑" };
const nameKey = (key) => key.split("+").map((part) => html`<kbd>${SIGNS[part] ?? part}</kbd>`);
const nameKeys = (keys) => keys.map((key, place) => html`${place ? " or " : ""}${nameKey(key)}`);

export function Dialogs({ dialog, notes, shortcuts, onKey }) {
  if (!dialog) return null;
  const Shown = { help: Help, settings: Settings, key: Key, export: Export, confirm: Confirm, problems: Problems }[dialog.name];
  return html`<${Shown} ...${dialog} notes=${notes} shortcuts=${shortcuts} onKey=${onKey} />`;
}

function Dialog({ title, children }) {
  const box = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.isConnected && before.focus();
  }, []);
  return html`
    <dialog ref=${box} aria-labelledby="dialog-title" onClose=${close}
      onClick=${(event) => event.target === box.current && close()}>
      <div class="dialog-body"><h2 id="dialog-title">${title}</h2>${children}</div>
    </dialog>`;
}

const Close = ({ name = "Close" }) => html`<${Button} onClick=${close}>${name}</${Button}>`;

const Shortcuts = ({ shortcuts }) => html`
  <label class="check">
    <input type="checkbox" checked=${shortcuts} onChange=${(event) => change({ shortcuts: event.target.checked })} />
    Single keys are on
  </label>`;

function Help({ shortcuts }) {
  return html`
    <${Dialog} title="Keyboard">
      <table class="keys">
        <caption class="hidden">Keys and what they do</caption>
        <tbody>
          <tr><th scope="row"><kbd>Ctrl</kbd><kbd>↵</kbd></th><td>Code the text</td></tr>
          ${KEYS.map(([keys, words]) => html`<tr><th scope="row">${nameKeys(keys)}</th><td>${words}</td></tr>`)}
          <tr><th scope="row"><kbd>?</kbd></th><td>This list</td></tr>
        </tbody>
      </table>
      <p class="small quiet-text">Keys do nothing while you type in a field. ↑ and ↓ work while a code has the focus.</p>
      <${Shortcuts} shortcuts=${shortcuts} />
      <div class="buttons end"><${Close} /></div>
    </${Dialog}>`;
}

const THEMES = { "": "As the system", light: "Light", dark: "Dark" };

export function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  sessionStorage.setItem("icdtune.theme", theme);
}

function Settings({ shortcuts }) {
  const [theme, choose] = useState(document.documentElement.dataset.theme ?? "");
  const pick = (name) => {
    setTheme(name);
    choose(name);
  };
  return html`
    <${Dialog} title="Settings">
      <fieldset class="choice"><legend>Colours</legend>
        ${Object.entries(THEMES).map(
          ([name, words]) => html`<label class="check">
            <input type="radio" name="theme" checked=${theme === name} onChange=${() => pick(name)} /> ${words}</label>`,
        )}
      </fieldset>
      <${Shortcuts} shortcuts=${shortcuts} />
      <p class="small quiet-text">
        Notes, codes, decisions and the key are kept in this tab (sessionStorage): a reload loses nothing, and closing the tab
        forgets it. A browser that reopens closed tabs may bring it back; “Forget everything” removes it for good.
      </p>
      <div class="buttons end">
        <${Button} onClick=${() => change({ dialog: { name: "key" } })}>API key</${Button}>
        <${Button} class="danger" onClick=${forget}>Forget everything</${Button}>
        <${Close} />
      </div>
    </${Dialog}>`;
}

function Key({ onKey }) {
  const send = (event) => {
    event.preventDefault();
    keepKey(new FormData(event.target).get("key").trim());
    change({ dialog: null, message: "The key is kept in this tab." });
    onKey();
    if (getState().notes.some((note) => note.status === "waiting")) runQueue();
  };
  return html`
    <${Dialog} title="API key">
      <form onSubmit=${send}>
        <p>This server asks for a key. It is kept in this tab only, and sent to this server only.</p>
        <label>Key <input type="password" name="key" autocomplete="off" required defaultValue=${readKey()} /></label>
        <div class="buttons end"><${Close} name="Not now" /><button class="main">Use this key</button></div>
      </form>
    </${Dialog}>`;
}

function Confirm({ title, question, action, run }) {
  return html`
    <${Dialog} title=${title}>
      <p>${question}</p>
      <div class="buttons end">
        <${Close} name="Cancel" />
        <${Button} class="danger" onClick=${run}>${action}</${Button}>
      </div>
    </${Dialog}>`;
}

function Problems({ problems }) {
  return html`
    <${Dialog} title="Not everything could be read">
      <ul class="problems">${problems.slice(0, 50).map((problem) => html`<li>${problem}</li>`)}</ul>
      ${problems.length > 50 && html`<p>and ${problems.length - 50} more</p>`}
      <div class="buttons end"><${Close} /></div>
    </${Dialog}>`;
}

function Export({ notes }) {
  const reviewed = listReviewed(notes);
  const write = async (kind) => {
    try {
      say(`${await kind.write(notes)} is written.`);
    } catch (problem) {
      say(`Not exported: ${problem.message}.`);
    }
  };
  const count = `${reviewed.length} of ${notes.length} ${notes.length === 1 ? "note" : "notes"} reviewed.`;
  const draw = (kind) => html`
    <li>
      <${Button} id=${`export-${kind.id}`} disabled=${!reviewed.length} onClick=${() => write(kind)}>${kind.name}</${Button}>
      <span class="small"><span class="quiet-text">${kind.words}</span>${kind.holdsText && HOLDS_TEXT}</span>
    </li>`;
  return html`
    <${Dialog} title="Export">
      <p>${count} Only finished reviews are exported, with the codes that were accepted, replaced or added.</p>
      <ul class="exports">${EXPORTS.map(draw)}</ul>
      <p class="small quiet-text">Files that hold note text are patient data: keep them where patient data may be kept.</p>
      <div class="buttons end"><${Close} /></div>
    </${Dialog}>`;
}

const HOLDS_TEXT = html` <strong class="tag warning">holds note text</strong>`;
