// Folds the menu on narrow screens.

const button = document.querySelector(".menu-button");
const menu = document.getElementById("menu");

function fold(open) {
  menu.classList.toggle("open", open);
  button.setAttribute("aria-expanded", String(open));
}

button.addEventListener("click", () => fold(!menu.classList.contains("open")));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && menu.classList.contains("open")) {
    fold(false);
    button.focus();
  }
});
