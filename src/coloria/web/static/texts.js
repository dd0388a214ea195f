// What the scripts of a page say: the page brings it along in its language.

const block = document.getElementById("texts");
const known = block ? JSON.parse(block.dataset.texts) : {};

/** The text of a key, with `values` in the place of {name}. */
export function text(key, values = {}) {
  const found = known[key] ?? key;
  return found.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Whether there is such a text. */
export const says = (key) => key in known;

/** A number as the language of the page writes it, with at most one decimal. */
export function number(value) {
  const language = document.documentElement.lang;
  return new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(value);
}
