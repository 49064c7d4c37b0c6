/** Offsets of the API count Unicode characters, JavaScript's count UTF-16 units: an emoji is one there and two here. */

const SURROGATE_PAIR = /[\uD800-\uDBFF][\uDC00-\uDFFF]/;

/** Return a function from an offset in characters to the offset in UTF-16 units of `text`. */
export function mapOffsets(text) {
  if (!SURROGATE_PAIR.test(text)) return (offset) => Math.min(offset, text.length);
  const units = [0];
  for (const character of text) units.push(units.at(-1) + character.length);
  return (offset) => units[Math.min(offset, units.length - 1)];
}

/**
 * Cut a text where a span begins or ends.
 * @param {string} text
 * @param {{start: number, end: number}[]} spans in UTF-16 units; they may overlap
 * @returns {{text: string, start: number, end: number, spans: object[]}[]} pieces in order, each with the spans that cover it
 */
export function cutIntoPieces(text, spans) {
  const places = [...new Set([0, text.length, ...spans.flatMap((span) => [span.start, span.end])])].sort((a, b) => a - b);
  return places.slice(1).map((end, number) => {
    const start = places[number];
    const covering = spans.filter((span) => span.start < end && span.end > start);
    return { text: text.slice(start, end), start, end, spans: covering };
  });
}

/** Return `text` as it is sent and shown: one kind of line end, no half of a surrogate pair. */
export const tidyText = (text) => text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").toWellFormed();
