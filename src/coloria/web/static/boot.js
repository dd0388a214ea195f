// Before the first paint: pages are written for no script, and change where there is one.
document.documentElement.classList.add("js");
