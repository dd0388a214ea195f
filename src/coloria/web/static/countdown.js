// The time that is left until results are deleted.

import { text } from "./texts.js";

const SOON_S = 60;

/** Shows in `place` how long it is until `end` (milliseconds of performance.now()). */
export function countdown(place, end, over) {
  const timer = setInterval(show, 1000);
  function show() {
    const left = Math.round((end - performance.now()) / 1000);
    if (left <= 0) {
      clearInterval(timer);
      over();
      return;
    }
    const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    place.textContent = text("results.leaves", { time });
    place.classList.toggle("soon", left <= SOON_S);
  }
  show();
}
