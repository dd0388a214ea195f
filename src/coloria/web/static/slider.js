// Before and after in one picture. The range input does the work for keyboards and screen
// readers; pointers set it from their place, which browsers do not do alike.

function show(range) {
  range.parentElement.style.setProperty("--at", `${range.value}%`);
  range.setAttribute("aria-valuetext", range.dataset.said.replace("{n}", range.value));
}

function follow(range, event) {
  const box = range.getBoundingClientRect();
  const part = (event.clientX - box.left) / box.width;
  range.value = Math.round(100 * Math.min(1, Math.max(0, part)));
  show(range);
}

const rangeOf = (event) =>
  event.target instanceof Element ? event.target.closest(".compare-range") : null;

document.addEventListener("input", (event) => {
  const range = rangeOf(event);
  if (range) show(range);
});

document.addEventListener("pointerdown", (event) => {
  const range = rangeOf(event);
  if (range && event.button === 0) follow(range, event);
});

document.addEventListener("pointermove", (event) => {
  const range = rangeOf(event);
  if (range && event.buttons & 1) follow(range, event);
});
