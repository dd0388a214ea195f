// Other tones for a result: rendered on the server from what the network said the first time.

import { query, reset, say, slidersIn } from "./tones.js";

const DELAY_MS = 300; // a slider is moved through many values; only where it rests is rendered

const timers = new WeakMap();
const forms = () => [...document.querySelectorAll(".adjust form")];

function later(form) {
  const tones = query(form);
  link(form, tones);
  clearTimeout(timers.get(form));
  timers.set(form, setTimeout(() => preview(form, tones), DELAY_MS));
}

/** Downloads take the tones at once; the archive only if they are the same everywhere. */
function link(form, tones) {
  for (const anchor of form.closest(".picture").querySelectorAll("a[data-url]")) {
    anchor.href = anchor.dataset.url + tones;
  }
  const zip = document.getElementById("zip");
  if (!zip) return;
  const asked = forms().map(query);
  const same = asked.every((one) => one === asked[0]);
  zip.href = zip.dataset.url + (same ? asked[0] : "");
  document.getElementById("zip-note").hidden = same;
}

function preview(form, tones) {
  form.querySelector(".problem").hidden = true;
  for (const image of form.closest(".picture").querySelectorAll("img[data-view]")) {
    replace(image, image.dataset.view + tones, form);
  }
}

/** Loads beside the page and shows it when it is whole; an older answer never wins. */
function replace(image, url, form) {
  const compare = image.closest(".compare");
  image.dataset.wanted = url;
  compare.classList.add("loading");
  const next = new Image();
  const isWanted = () => image.dataset.wanted === url;
  next.addEventListener("load", () => {
    if (!isWanted()) return;
    image.src = url;
    compare.classList.remove("loading");
  });
  next.addEventListener("error", () => {
    if (!isWanted()) return;
    compare.classList.remove("loading");
    form.querySelector(".problem").hidden = false;
  });
  next.src = url;
}

/** Gives every picture the tones of this form. */
function share(form) {
  for (const other of forms().filter((one) => one !== form)) {
    const targets = slidersIn(other);
    slidersIn(form).forEach((slider, i) => {
      targets[i].value = slider.value;
      say(targets[i]);
    });
    later(other);
  }
}

document.addEventListener("input", (event) => {
  const form = event.target.closest?.(".adjust form");
  if (form) later(form);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.(".adjust button");
  if (!button) return;
  const form = button.form;
  if (button.name === "reset") {
    reset(form);
    later(form);
  }
  if (button.name === "same") share(form);
});
