// Results as they come: the server says what has changed, and the page is fetched anew for it, so
// that only the server knows how a result looks.

import "./adjust.js";
import { countdown } from "./countdown.js";
import "./slider.js";
import { text } from "./texts.js";

const POLL_MS = 1500;
const FINAL = ["done", "failed", "cancelled"];

const results = document.getElementById("results");

// ---------------------------------------------------------------- the layout of pictures

const narrow = matchMedia("(max-width: 56rem)");
const folded = new WeakSet();

/** Tells the style sheet how large pictures are, and folds settings that would stand below them. */
function fit() {
  for (const details of document.querySelectorAll(".adjust")) {
    if (narrow.matches && !folded.has(details)) details.open = false;
    folded.add(details);
  }
  for (const picture of document.querySelectorAll(".picture[data-width]")) {
    const { width, height } = picture.dataset;
    picture.style.setProperty("--aspect", width / height);
    picture.style.setProperty("--width", `${Math.max(320, width)}px`);
  }
}

// ---------------------------------------------------------------- progress

let busy = Promise.resolve();
let shown = "";

/** Shows a state of the job; renewals of the page come one after the other. */
function show(job) {
  const states = job.files.flatMap((file) => file.results.map((result) => result.status));
  const ready = states.filter((state) => FINAL.includes(state)).length;
  const bar = document.getElementById("bar");
  if (bar) {
    bar.value = job.progress;
    said("ready", text("results.ready", { done: ready, total: states.length }));
    const waits = job.status === "queued" && job.position > 0;
    said("queue", waits ? text("results.waiting", { n: job.position }) : "");
  }
  const read = job.files.map((file) => Boolean(file.original_view_url));
  const now = JSON.stringify([job.status, states, read]);
  if (now !== shown) busy = busy.then(renew);
  shown = now;
}

function said(id, words) {
  const place = document.getElementById(id);
  if (place.textContent !== words) place.textContent = words;
}

/** Takes those parts of the page that have another state now. */
async function renew() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.status === 410 || answer.status === 404) {
    gone();
    return;
  }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of results.querySelectorAll("[data-part]")) {
    const part = fresh.querySelector(`[data-part="${CSS.escape(old.dataset.part)}"]`);
    if (part && part.dataset.state !== old.dataset.state) old.replaceWith(part);
  }
  document.title = fresh.title;
  fit();
  count();
}

function gone() {
  const note = document.getElementById("gone");
  for (const part of results.querySelectorAll("[data-part], .picture")) part.remove();
  note.hidden = false;
  note.querySelector("a").focus();
}

let counted = null;

function count() {
  const place = results.querySelector("[data-expires]");
  if (!place || place === counted) return;
  counted = place;
  countdown(place, performance.now() + 1000 * place.dataset.expires, gone);
}

// ---------------------------------------------------------------- following the job

function follow() {
  const events = new EventSource(results.dataset.events);
  events.addEventListener("job", (event) => {
    const job = JSON.parse(event.data);
    show(job);
    if (FINAL.includes(job.status)) events.close();
  });
  events.addEventListener("error", () => {
    events.close(); // a proxy may not pass such streams on: asking always works
    poll();
  });
}

async function poll() {
  try {
    const answer = await fetch(results.dataset.self, { headers: { Accept: "application/json" } });
    document.getElementById("lost").hidden = true;
    if (answer.status === 410 || answer.status === 404) {
      gone();
      return;
    }
    if (answer.ok) {
      const job = await answer.json();
      show(job);
      if (FINAL.includes(job.status)) return;
    }
  } catch {
    document.getElementById("lost").hidden = false;
  }
  setTimeout(poll, POLL_MS);
}

fit();
count();
if (!FINAL.includes(results.dataset.status)) follow();
