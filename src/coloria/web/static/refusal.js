// Refusals of the server, for people.

import { says, text } from "./texts.js";

/** What a refusal says: by its code, else its own message. */
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
