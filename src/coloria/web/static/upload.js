// The start page: choosing, dropping and sending photographs.

import { Picks } from "./picks.js";
import { refusal } from "./refusal.js";
import { send } from "./send.js";
import { shrink } from "./shrink.js";
import "./slider.js";
import { text } from "./texts.js";
import { reset } from "./tones.js";

const form = document.getElementById("form");
const files = document.getElementById("files");
const limits = JSON.parse(form.dataset.limits);
const side = Number(form.dataset.side);
const submit = document.getElementById("submit");
const problem = document.getElementById("problem");
const sending = document.getElementById("sending");

const all = () => form.elements.model.value === "all";
const shrinking = () => document.getElementById("shrink").checked;

const picks = new Picks(document.getElementById("picks"), document.getElementById("pick"), {
  limits,
  types: form.dataset.types,
  most: () => (all() ? limits.max_files_all : limits.max_files),
  shrinking,
  changed: () => complain(""),
});

function complain(words) {
  problem.textContent = words;
  problem.hidden = !words;
}

// ---------------------------------------------------------------- choosing

files.required = false;

files.addEventListener("change", () => {
  picks.add(files.files);
  files.value = ""; // so that the same file can be chosen again after it was removed
});

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
let depth = 0; // dragenter and dragleave come for every element that is passed

function dragged(change) {
  depth = Math.max(0, change);
  document.body.classList.toggle("dragging", depth > 0);
}

addEventListener("dragenter", (event) => hasFiles(event) && dragged(depth + 1));
addEventListener("dragleave", (event) => hasFiles(event) && dragged(depth - 1));
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault(); // without this the browser would open the file
  event.dataTransfer.dropEffect = "copy";
});
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  dragged(0);
  picks.add(event.dataTransfer.files);
});

// ---------------------------------------------------------------- options

/** A setting that the chosen model does not take is hidden by the style sheet, and not sent. */
function chosen() {
  const model = form.querySelector("[name=model]:checked");
  for (const name of ["samples", "class"]) {
    const field = form.elements[name];
    if (field) field.disabled = !(name in model.dataset);
  }
  submit.textContent = all() ? submit.dataset.all : submit.dataset.one;
  picks.check();
}

form.addEventListener("change", (event) => {
  if (event.target.name === "model" || event.target.id === "shrink") chosen();
});
document.getElementById("reset").addEventListener("click", () => reset(form));

const wanted = new URLSearchParams(location.search).get("model");
const choice = [...form.elements].find((e) => e.name === "model" && e.value === wanted);
if (choice) choice.checked = true;
chosen();

// ---------------------------------------------------------------- sending

let abort = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (abort) return;
  const good = picks.good;
  if (good.length) transfer(good);
  else complain(text(picks.length ? "check.none_good" : "check.none"));
});
document.getElementById("cancel").addEventListener("click", () => abort?.abort());

async function transfer(good) {
  abort = new AbortController();
  busy(true);
  complain("");
  report("sending.preparing", 0);
  try {
    const data = await filled(good);
    abort.signal.throwIfAborted();
    const job = await send(form.action, data, {
      signal: abort.signal,
      progress: (part) => report(part < 1 ? "sending.sending" : "sending.waiting", part),
    });
    location.assign(job.links.page);
  } catch (failure) {
    busy(false);
    if (!abort.signal.aborted) explain(failure);
    abort = null;
  }
}

/** The form as it is to be sent, with the photographs in the place of the file field. */
async function filled(good) {
  const data = new FormData(form);
  data.delete("files");
  for (const file of good) {
    const sent = shrinking() ? await shrink(file, side) : file;
    picks.sentAs(file, sent.name);
    data.append("files", sent, sent.name);
  }
  return data;
}

function explain({ answer, retryAfter }) {
  if (!answer) {
    complain(text("sending.network"));
    return;
  }
  const words = refusal(answer, retryAfter);
  const beside = answer.error?.file && picks.refuse(answer.error.file, words);
  complain(beside ? `${answer.error.file}: ${words}` : words);
}

function busy(is) {
  submit.disabled = is;
  sending.hidden = !is;
}

function report(key, part) {
  sending.querySelector("p").textContent = text(key, { n: Math.round(100 * part) });
  sending.querySelector("progress").value = part;
}

// Someone who comes back by the back button finds the form as it was, ready to send.
addEventListener("pageshow", () => {
  abort = null;
  busy(false);
});
