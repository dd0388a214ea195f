// The sliders for colour and light, wherever they stand.

const SLIDER = ".tone input";

/** Shows beside a slider what it says. */
export function say(slider) {
  const percent = Math.round(100 * slider.value);
  const sign = Number(slider.min) < 0 && percent > 0 ? "+" : "";
  const words = `${sign}${percent} %`;
  slider.closest(".tone").querySelector("output").value = words;
  slider.setAttribute("aria-valuetext", words);
}

/** The sliders in an element. */
export const slidersIn = (element) => [...element.querySelectorAll(SLIDER)];

/** Puts every slider back to where the page had it. */
export function reset(element) {
  for (const slider of slidersIn(element)) {
    slider.value = slider.defaultValue;
    say(slider);
  }
}

/** What was changed, as a query with its question mark; empty if nothing was. */
export function query(element) {
  const changed = slidersIn(element).filter((s) => Number(s.value) !== Number(s.defaultValue));
  const words = new URLSearchParams(changed.map((s) => [s.name, s.value])).toString();
  return words && `?${words}`;
}

document.addEventListener("input", (event) => {
  if (event.target.matches?.(SLIDER)) say(event.target);
});
