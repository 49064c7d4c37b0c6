/** Buttons, and the line icons on them: drawn here so that nothing is loaded, always beside words or a name. */

import { html } from "./vendor/preact-htm.js";

const PATHS = {
  accept: "m4 10.5 4 4 8-9",
  reject: "m5 5 10 10M15 5 5 15",
  replace: "M4 7h10l-3-3M16 13H6l3 3",
  undo: "M7 5 3.5 8.5 7 12M4 8.5h7.5a4 4 0 0 1 0 8H8",
  up: "M10 16V4.5M5 9l5-5 5 5",
  down: "M10 4v11.5M5 11l5 5 5-5",
  plus: "M10 4v12M4 10h12",
  export: "M10 3v9.5M6 9l4 4 4-4M4 16.5h12",
  help: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15ZM8 8.2a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.4M10 13.6v.1",
  settings: "M3 6h5.5M12.5 6H17M3 14h3M10 14h7M10.5 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM8 16a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  moon: "M16.5 11.5A7 7 0 0 1 8.5 3.5a7 7 0 1 0 8 8Z",
  file: "M5 3h6l4 4v10H5ZM11 3v4h4",
  edit: "m4 16 .8-3.5L13 4.3l2.7 2.7-8.2 8.2ZM11.5 5.8l2.7 2.7",
  person: "M10 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM4 17c.6-3.2 3-4.5 6-4.5s5.4 1.3 6 4.5",
  remove: "M4 6h12M8 6V4h4v2M6 6l.7 10.5h6.6L14 6",
};

export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

export const Button = ({ icon, children, ...rest }) => html`
  <button type="button" ...${rest}>${icon && html`<${Icon} name=${icon} />`}${children}</button>`;

/** A button that shows an icon alone; `label` is its name. */
export const IconButton = ({ icon, label, ...rest }) => html`
  <${Button} icon=${icon} class="quiet icon-only" aria-label=${label} title=${label} ...${rest} />`;
