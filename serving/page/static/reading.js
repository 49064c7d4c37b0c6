/** Files that are dropped or chosen, as notes: text files, CSV with a column `text`, JSON, JSONL. */

import { tidyText } from "./offsets.js";

const SEXES = { f: "F", female: "F", m: "M", male: "M" };
const ENCOUNTERS = ["initial", "subsequent", "sequela"];

/**
 * Read files. What cannot be read is said, never dropped in silence.
 * @returns {Promise<{rows: {name, text, context}[], problems: string[]}>}
 */
export async function readFiles(files) {
  const rows = [];
  const problems = [];
  for (const file of files) {
    try {
      const text = decode(await file.arrayBuffer());
      for (const row of splitFile(file.name, text)) readRow(row, rows, problems);
    } catch (error) {
      problems.push(`${file.name}: ${error instanceof SyntaxError ? "not valid JSON" : error.message}`);
    }
  }
  return { rows, problems };
}

/** UTF-8, or the encoding of old Windows programs where it is not. */
function decode(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

function splitFile(name, text) {
  const kind = name.toLowerCase().split(".").pop();
  if (text.includes("\0")) throw new Error("not a text file");
  if (kind === "csv" || kind === "tsv") return readTable(name, text);
  if (kind === "jsonl" || kind === "ndjson") {
    const lines = text.split(/\r?\n/).map((line, number) => [line, number + 1]);
    return lines
      .filter(([line]) => line.trim())
      .map(([line, number]) => ({ place: `${name} line ${number}`, ...parseObject(line, name, number) }));
  }
  if (kind === "json") {
    const found = [JSON.parse(text)].flat();
    return found.map((row, number) => ({ place: `${name} no. ${number + 1}`, ...asObject(row) }));
  }
  return [{ place: name, id: name, text }];
}

function parseObject(line, name, number) {
  try {
    return asObject(JSON.parse(line));
  } catch {
    throw new Error(`line ${number} is not valid JSON`);
  }
}

const asObject = (row) => (typeof row === "string" ? { text: row } : (row ?? {}));

function readTable(name, text) {
  const [head, ...lines] = parseCsv(text);
  const columns = (head ?? []).map((column) => column.trim().toLowerCase());
  if (!columns.includes("text") && !columns.includes("note")) throw new Error("has no column `text`");
  return lines.map((cells, number) => ({
    place: `${name} row ${number + 1}`,
    ...Object.fromEntries(columns.map((column, place) => [column === "note" ? "text" : column, cells[place] ?? ""])),
  }));
}

/** Rows of cells; a cell in quotes may hold separators, line ends and doubled quotes. */
export function parseCsv(text) {
  const first = text.slice(0, text.indexOf("\n") + 1 || undefined);
  const separator = [",", ";", "\t"].reduce((best, sign) =>
    first.split(sign).length > first.split(best).length ? sign : best,
  );
  const rows = [];
  let row = [];
  const cell = new RegExp(`("(?:[^"]|"")*"|[^${separator}\\r\\n]*)(${separator}|\\r\\n|\\n|\\r|$)`, "gy");
  for (let found; cell.lastIndex < text.length && (found = cell.exec(text));) {
    row.push(found[1].startsWith('"') ? found[1].slice(1, -1).replaceAll('""', '"') : found[1]);
    if (found[2] !== separator) {
      if (row.some((value) => value.trim())) rows.push(row);
      row = [];
    }
  }
  if (row.length) rows.push(row);
  return rows;
}

function readRow({ place, ...row }, rows, problems) {
  if (typeof row.text !== "string" || !row.text.trim()) {
    problems.push(`${place}: no text`);
    return;
  }
  const odd = [];
  const context = {
    sex: pick(row.sex, (said) => SEXES[said.toLowerCase()], "sex", odd),
    age: pick(row.age, (said) => (Number(said) >= 0 && Number(said) <= 150 ? said : undefined), "age", odd),
    encounter: pick(row.encounter, (said) => ENCOUNTERS.find((name) => name === said.toLowerCase()), "encounter", odd),
    service_date: pick(row.service_date, (said) => /^\d{4}-\d\d-\d\d$/.exec(said)?.[0], "service_date", odd),
  };
  if (odd.length) problems.push(`${place}: ${odd.join(", ")} left out, not understood`);
  rows.push({ name: String(row.id ?? row.name ?? place).slice(0, 200), text: tidyText(row.text), context });
}

function pick(value, read, name, odd) {
  const said = String(value ?? "").trim();
  const found = said && read(said);
  if (said && !found) odd.push(name);
  return found || "";
}
