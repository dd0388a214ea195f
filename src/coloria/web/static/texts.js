// What the scripts of a page say, from the page's own block of texts, and its facts.

const block = document.getElementById("texts");
const known = block ? JSON.parse(block.textContent) : {};

/** The text of a key, with `values` in the place of {name}. */
export function text(key, values = {}) {
  const found = known[key] ?? known.fallback ?? key;
  return found.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Whether there is such a text. */
export const says = (key) => key in known;

/** What a refusal of the server says to people: by its code, else its own message. */
export function refusal(answer, retryAfter) {
  const error = answer?.error;
  if (!error) return text("error.internal");
  const key = `error.${error.code}`;
  // A value that is out of its range is told in detail: only the server knows it.
  const exact = error.code === "wrong_field" || !says(key);
  const words = [says(key) ? text(key) : "", exact ? error.message : ""];
  if (retryAfter) words.push(text("sending.retry", { s: retryAfter }));
  return words.filter(Boolean).join(" ");
}

/** A number as the language of the page writes it, with at most one decimal. */
export function number(value) {
  const language = document.documentElement.lang;
  return new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(value);
}
