// The chosen photographs: the list on the page, and what may be sent of it.

import { problemOfContent, problemOfName } from "./checks.js";
import { number, text } from "./texts.js";

const PLACEHOLDER = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E";

/** The list, kept in the element `list`; `most` says how many may be sent. */
export class Picks {
  constructor(list, template, { limits, types, most, shrinking, changed }) {
    Object.assign(this, { list, template, limits, types, most, shrinking, changed });
    this.picks = [];
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.#remove(button.closest("li"));
    });
    // These two do not bubble: they are caught on the way down, once for all pictures.
    list.addEventListener("load", (event) => this.#seen(event.target), true);
    list.addEventListener("error", (event) => this.#unseen(event.target), true);
  }

  /** Files to send, in order. */
  get good() {
    return this.picks.filter((pick) => !pick.problem).map((pick) => pick.file);
  }

  get length() {
    return this.picks.length;
  }

  /** Takes in files; says beside each what is wrong with it. */
  async add(files) {
    const fresh = [...files].map((file) => this.#show(file));
    this.check();
    await Promise.all(fresh.filter((pick) => !pick.own).map(async (pick) => {
      const found = await problemOfContent(pick.file);
      if (found) pick.own = found; // else what the browser may have found meanwhile stays
    }));
    this.check();
  }

  /** Says what is wrong with each, after anything has changed. */
  check() {
    const most = this.most();
    let taken = 0;
    for (const pick of this.picks) {
      let problem = pick.own ?? this.#tooManyPixels(pick) ?? pick.refused;
      if (!problem && taken >= most) {
        problem = [most === 1 && this.limits.max_files > 1 ? "check.count_all" : "check.count",
          { n: most }];
      }
      if (!problem) taken += 1;
      this.#say(pick, problem);
    }
    this.changed();
  }

  /** Shows what the server said of the file that was sent under this name. */
  refuse(name, words) {
    const pick = this.picks.find(({ file, sent }) => name === file.name || name === sent);
    if (!pick) return false;
    pick.refused = ["said", { words }];
    this.check();
    return true;
  }

  /** Notes under which name a file was sent. */
  sentAs(file, name) {
    const pick = this.picks.find((one) => one.file === file);
    if (pick) pick.sent = name;
  }

  #show(file) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    const pick = { file, item, url: null, own: null, pixels: 0, problem: null };
    pick.own = this.#twice(file) ?? problemOfName(file.name, file.size, this.limits);
    item.querySelector(".pick-name").textContent = file.name;
    item.querySelector(".pick-size").textContent = sizeOf(file.size);
    const button = item.querySelector("button");
    button.setAttribute("aria-label", text("form.remove_name", { name: file.name }));
    const image = item.querySelector("img");
    if (pick.own) {
      image.src = PLACEHOLDER;
    } else {
      pick.url = URL.createObjectURL(file);
      image.src = pick.url;
    }
    this.picks.push(pick);
    this.list.append(item);
    this.list.hidden = false;
    return pick;
  }

  #twice(file) {
    const same = (other) =>
      other.name === file.name && other.size === file.size &&
      other.lastModified === file.lastModified;
    return this.picks.some((pick) => same(pick.file)) ? ["check.twice", {}] : null;
  }

  #tooManyPixels(pick) {
    const limit = this.limits.max_pixels;
    if (pick.pixels <= limit || this.shrinking()) return null;
    return ["check.pixels", { mp: number(pick.pixels / 1e6), limit: number(limit / 1e6) }];
  }

  #remove(item) {
    const at = this.picks.findIndex((pick) => pick.item === item);
    const [pick] = this.picks.splice(at, 1);
    this.#forget(pick);
    item.remove();
    this.list.hidden = this.picks.length === 0;
    this.check();
    const next = this.picks[Math.min(at, this.picks.length - 1)];
    (next?.item.querySelector("button") ?? document.getElementById("files")).focus();
  }

  #forget(pick) {
    if (pick.url) URL.revokeObjectURL(pick.url);
    pick.url = null;
  }

  #of(image) {
    return this.picks.find((pick) => pick.url && pick.item.contains(image));
  }

  #seen(image) {
    const pick = this.#of(image);
    if (!pick) return;
    pick.pixels = image.naturalWidth * image.naturalHeight;
    if (pick.pixels > this.limits.max_pixels) this.check();
  }

  #unseen(image) {
    const pick = this.#of(image);
    if (!pick) return;
    this.#forget(pick);
    image.src = PLACEHOLDER;
    // Browsers do not show TIFF; of the other kinds it means that the file is damaged.
    if (!/\.tiff?$/i.test(pick.file.name)) pick.own ??= ["check.damaged", {}];
    this.check();
  }

  #say(pick, problem) {
    pick.problem = problem;
    pick.item.classList.toggle("refused", Boolean(problem));
    const place = pick.item.querySelector(".problem");
    const words = problem ? told(problem, this.types) : "";
    if (place.textContent !== words) place.textContent = words;
  }
}

function sizeOf(bytes) {
  const large = bytes >= 1e6;
  return text(large ? "form.mb" : "form.kb", { n: number(large ? bytes / 1e6 : Math.ceil(bytes / 1e3)) });
}

function told([key, values], types) {
  if (key === "said") return values.words;
  const filled = { types, ...values };
  if ("bytes" in values) {
    filled.mb = number(values.bytes / 1e6);
    filled.limit = number(values.limit / 1e6);
  }
  return `${text(key, filled)} ${text("check.left_out")}`;
}
