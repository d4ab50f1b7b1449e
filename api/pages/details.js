// "Why is it here": one runner's terms, opened from its lane and kept up to date with the race.

import { byContribution, hasScore, put, titleOf } from "./lanes.js";
import { explainTerm, say, writePrice, writeScore, writeSigned, writeTerm, writeValue } from "./words.js";

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function heading(scope, className, ...children) {
  const cell = element("th", className, ...children);
  cell.scope = scope;
  return cell;
}

export class Details {
  #panel;
  #onClose;
  #product = null;
  #entry = null; // as last seen on the board
  #title = element("h2", "details-title");
  #slot = element("span", "details-slot");
  #score = element("strong", "");
  #gaps = element("p", "gaps");
  #terms = new Terms();
  #notes = [element("p", "note", say("sumNote")), element("p", "note", say("boardNote"))];
  #facts = element("dl", "details-facts");

  /** onClose(product, hadFocus) is called when the reader closes the panel. */
  constructor(panel, onClose) {
    this.#panel = panel;
    this.#onClose = onClose;
    this.#title.id = "details-title";
    const close = element("button", "details-close", "✕");
    close.type = "button";
    close.ariaLabel = say("close");
    close.addEventListener("click", () => this.close());
    panel.append(
      element("div", "details-head", element("p", "details-why", say("why")), close),
      this.#title,
      element("p", "details-score", this.#slot, this.#score),
      this.#gaps,
      this.#terms.table,
      ...this.#notes,
      this.#facts,
    );
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  get product() {
    return this.#product;
  }

  open(product, slots, takeFocus) {
    this.#product = product;
    this.#entry = null;
    this.show(slots);
    this.#panel.hidden = false;
    this.#panel.scrollTop = 0;
    if (takeFocus) this.#panel.focus();
  }

  close() {
    const product = this.#product;
    if (product === null) return;
    const hadFocus = this.#panel.contains(document.activeElement);
    this.#product = null;
    this.#panel.hidden = true;
    this.#onClose(product, hadFocus);
  }

  /** Shows the runner's numbers in this frame; one that left the board keeps its last ones. */
  show(slots) {
    if (this.#product === null) return;
    const entry = slots.find(({ product }) => product === this.#product);
    const opened = this.#entry === null;
    this.#entry = entry ?? this.#entry;
    const told = this.#entry;
    if (told === null) return;
    this.#panel.dataset.product = told.product;
    put(this.#title, titleOf(told));
    put(this.#slot, say("inSlot", { slot: told.slot }));
    const scored = hasScore(told);
    put(this.#score, scored ? writeScore(told.score) : "");
    this.#gaps.classList.toggle("left", !entry);
    const onBoard = (lane) => (scored ? gapsAround(lane, slots).join("\n") : say("scoresKept"));
    put(this.#gaps, entry ? onBoard(entry) : say("leftBoard", { slot: told.slot }));
    for (const part of [this.#terms.table, ...this.#notes]) part.hidden = !scored;
    if (scored) this.#terms.show(told);
    if (opened) this.#facts.replaceChildren(...facts(told));
  }
}

/** The table of terms. Its rows stay while the numbers change, so that they can be read, marked and copied. */
class Terms {
  #rows = element("tbody", "");
  #rest = element("td", "");
  #sum = element("td", "");
  #restRow = sumRow("rest", say("boosts"), this.#rest);
  table = element("table", "terms");

  constructor() {
    const heads = ["signal", "value", "weight", "contribution"].map((key) => heading("col", "", say(key)));
    this.table.ariaLabel = say("why");
    this.table.append(
      element("thead", "", element("tr", "", ...heads)),
      this.#rows,
      element("tfoot", "", this.#restRow, sumRow("sum", say("total"), this.#sum)),
    );
  }

  show(entry) {
    const terms = byContribution(entry.terms);
    const largest = Math.max(...terms.map(({ contribution }) => Math.abs(contribution)), 1e-9);
    while (this.#rows.children.length > terms.length) this.#rows.lastChild.remove();
    while (this.#rows.children.length < terms.length) this.#rows.append(termRow());
    terms.forEach((term, index) => fillRow(this.#rows.children[index], term, largest));
    const rest = entry.score - terms.reduce((sum, { contribution }) => sum + contribution, 0);
    this.#restRow.hidden = Math.abs(rest) < 0.005;
    put(this.#rest, writeSigned(rest, true));
    put(this.#sum, writeScore(entry.score));
  }
}

function termRow() {
  const sum = element("td", "term-sum", element("span", ""), element("span", "term-bar"));
  const name = heading("row", "term-name", element("span", ""), element("small", ""));
  return element("tr", "term", name, element("td", ""), element("td", ""), sum);
}

function fillRow(row, term, largest) {
  const [name, value, weight, sum] = row.cells;
  row.dataset.term = term.name;
  row.dataset.sign = term.contribution < 0 ? "minus" : "plus";
  put(name.children[0], writeTerm(term.name));
  put(name.children[1], explainTerm(term.name) ?? "");
  put(value, writeValue(term.value));
  put(weight, writeValue(term.weight));
  put(sum.children[0], writeSigned(term.contribution, true));
  sum.children[1].style.setProperty("--share", (Math.abs(term.contribution) / largest).toFixed(3));
}

function sumRow(kind, words, number) {
  const name = heading("row", "", words);
  name.colSpan = 3;
  return element("tr", kind, name, number);
}

/** How far it is from its neighbours, in words that also fit a board that does not follow the score alone. */
function gapsAround(entry, slots) {
  const at = slots.indexOf(entry);
  const told = (other, more, less) => {
    const gap = entry.score - other.score;
    return say(gap > 0 ? more : less, { gap: writeScore(Math.abs(gap)), slot: other.slot });
  };
  const gaps = [];
  if (at > 0) gaps.push(told(slots[at - 1], "above", "behind"));
  if (at < slots.length - 1) gaps.push(told(slots[at + 1], "ahead", "below"));
  return gaps;
}

function facts(entry) {
  const list = [];
  const add = (key, value) => list.push(element("div", "", element("dt", "", say(key)), element("dd", "", value)));
  if (entry.merchant) add("merchant", entry.merchant);
  add("product", entry.product);
  if (entry.category) add("category", entry.category);
  if (typeof entry.price === "number") add("price", writePrice(entry.price));
  const address = webAddress(entry.url);
  if (address) {
    const link = element("a", "", address.host);
    link.href = address.href;
    link.rel = "noopener noreferrer";
    link.target = "_blank";
    add("pageLink", link);
  }
  return list;
}

/** A product's own page, only when it is a plain web address. */
function webAddress(text) {
  const address = typeof text === "string" ? URL.parse(text, location.href) : null;
  return address && ["http:", "https:"].includes(address.protocol) ? address : null;
}
