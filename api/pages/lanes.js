// The lanes: one DOM node per runner on the board, reused while it runs, gliding when places change.

import { say, writeMove, writeScore, writeSigned, writeTerm } from "./words.js";

const MEMORY_MS = 10_000;
const GAP_MS = 5_000; // after such a silence the remembered order is of another time
const GLIDE = { duration: 520, easing: "cubic-bezier(.22,.8,.26,1)" };
const CHIPS = 6; // as many as a lane may draw; the details show all
const SILKS = 8;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Remembers the orders of the last ten seconds, to say how far a runner has moved. */
export class Memory {
  #orders = []; // [{at, slots: Map(product -> slot)}], oldest first; the first one is the reference
  #lastSeen = -Infinity;

  see(slots, now) {
    if (now - this.#lastSeen > GAP_MS) this.#orders = [];
    this.#lastSeen = now;
    if (slots) this.#orders.push({ at: now, slots: new Map(slots.map(({ product, slot }) => [product, slot])) });
    while (this.#orders.length > 1 && this.#orders[1].at <= now - MEMORY_MS) this.#orders.shift();
  }

  /** Places won (above 0) or lost; null for one who was not on the board. */
  moved(product, slot) {
    const before = this.#orders[0]?.slots.get(product);
    return before === undefined ? null : before - slot;
  }
}

/** Whether the venue shows what drives the race, or only its order. */
export function hasScore(entry) {
  return typeof entry.score === "number";
}

export function titleOf(entry) {
  return entry.title || entry.product;
}

/** The terms that matter most first. */
export function byContribution(terms) {
  return [...(terms ?? [])].sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
}

function part(className, ...children) {
  const node = document.createElement("span");
  node.className = className;
  node.append(...children);
  return node;
}

/** Sets a text only when it is another one, which spares the browser a layout. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

function horse() {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("class", "horse");
  picture.setAttribute("viewBox", "0 0 64 44");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", "pages/horse.svg#horse");
  picture.append(use);
  return picture;
}

/** A jockey's colour, the same for all runners of a merchant. */
function silkOf(entry) {
  let hash = 2166136261; // FNV-1a
  for (const letter of entry.merchant ?? entry.product) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  return String((hash >>> 13) % SILKS);
}

class Lane {
  constructor() {
    this.slot = part("slot");
    this.move = part("move");
    this.title = part("title");
    this.merchant = part("merchant");
    this.run = part("run", part("trail"), horse());
    this.score = part("score");
    this.chips = part("chips");
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "lane-open";
    this.button.tabIndex = -1;
    this.button.setAttribute("aria-controls", "details");
    const name = part("name", this.title, this.merchant);
    this.button.append(this.slot, this.move, name, part("track", this.run), this.score, this.chips);
    this.node = document.createElement("li");
    this.node.className = "lane";
    this.node.append(this.button);
  }

  /** best: the best score in view; null where the venue keeps scores to itself: then the place says how far it runs. */
  show(entry, best, lanes) {
    mark(this.node, "product", entry.product);
    mark(this.node, "slot", String(entry.slot));
    mark(this.node, "silk", silkOf(entry));
    put(this.slot, String(entry.slot));
    put(this.title, titleOf(entry));
    put(this.merchant, entry.merchant ?? "");
    put(this.score, best === null ? "" : writeScore(entry.score));
    const share = best === null ? 1 - (entry.slot - 1) / lanes : best > 0 ? Math.min(1, Math.max(0, entry.score / best)) : 0;
    this.run.style.setProperty("--short", (share - 1).toFixed(3)); // how far it stays behind the best, as a share
    this.chips.hidden = best === null;
    this.#showChips(byContribution(entry.terms));
  }

  showMove(entry, places) {
    const { kind, mark: sign, words } = writeMove(places);
    mark(this.node, "move", kind);
    put(this.move, sign);
    const told = { slot: entry.slot, title: titleOf(entry), move: words };
    const label = hasScore(entry) ? say("laneLabel", { ...told, score: writeScore(entry.score) }) : say("laneLabelBrief", told);
    if (this.button.ariaLabel !== label) this.button.ariaLabel = label;
  }

  #showChips(terms) {
    const told = terms.slice(0, CHIPS).filter(({ contribution }) => Math.abs(contribution) >= 0.05);
    while (this.chips.children.length > Math.max(1, told.length)) this.chips.lastChild.remove();
    while (this.chips.children.length < Math.max(1, told.length)) this.chips.append(part("chip", part("chip-name"), part("chip-sum")));
    if (told.length === 0) {
      const [name, sum] = this.chips.firstChild.children;
      mark(this.chips.firstChild, "sign", "none");
      put(name, say("quiet"));
      put(sum, "");
    }
    told.forEach((term, index) => {
      const chip = this.chips.children[index];
      mark(chip, "sign", term.contribution < 0 ? "minus" : "plus");
      put(chip.children[0], writeTerm(term.name));
      put(chip.children[1], writeSigned(term.contribution));
    });
  }
}

export class Lanes {
  #list;
  #onOpen;
  #lanes = new Map(); // product -> Lane
  #free = []; // lanes of runners that left
  #memory = new Memory();
  #shown = []; // the slots of the frame on screen
  #pressed = null; // the product under the pointer when it went down: lanes may move before it goes up
  #openProduct = null;

  /** onOpen(product, byKeyboard) is called when someone asks why a runner is where it is. */
  constructor(list, onOpen) {
    this.#list = list;
    this.#onOpen = onOpen;
    list.addEventListener("pointerdown", (event) => { this.#pressed = laneOf(event.target)?.dataset.product ?? null; });
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("keydown", (event) => this.#steer(event));
    list.addEventListener("focusin", (event) => this.#enter(laneOf(event.target)));
  }

  /** Shows a frame's slots; null: the frame is the same, only time has passed. */
  show(slots, now = performance.now()) {
    this.#memory.see(slots, now);
    if (slots) this.#arrange(slots);
    for (const entry of this.#shown) {
      this.#lanes.get(entry.product).showMove(entry, this.#memory.moved(entry.product, entry.slot));
    }
  }

  clear() {
    this.#memory = new Memory();
    this.#arrange([]);
  }

  /** Marks the lane whose details are open (null: none). */
  markOpen(product) {
    this.#openProduct = product;
    for (const [key, lane] of this.#lanes) lane.button.setAttribute("aria-expanded", String(key === product));
  }

  focus(product) {
    (this.#lanes.get(product) ?? this.#lanes.get(this.#shown[0]?.product))?.button.focus();
  }

  #arrange(slots) {
    const before = new Map(this.#shown.map(({ product }, index) => [product, index]));
    const unmoved = slots.length === this.#shown.length && slots.every(({ product }, index) => before.get(product) === index);
    const focused = laneOf(document.activeElement)?.dataset.product ?? null;
    const tops = unmoved ? null : new Map([...this.#lanes].map(([product, lane]) => [product, lane.node.getBoundingClientRect().top]));

    const staying = new Set(slots.map(({ product }) => product));
    for (const [product, lane] of this.#lanes) {
      if (staying.has(product)) continue;
      lane.node.remove();
      this.#lanes.delete(product);
      this.#free.push(lane);
    }
    const best = slots.every(hasScore) ? Math.max(...slots.map(({ score }) => score), 0) : null;
    const ordered = slots.map((entry) => {
      const lane = this.#lanes.get(entry.product) ?? this.#free.pop() ?? new Lane();
      this.#lanes.set(entry.product, lane);
      lane.show(entry, best, slots.length);
      return lane;
    });
    this.#shown = slots;
    this.markOpen(this.#openProduct);
    if (unmoved) return;

    const pivot = Math.max(0, slots.findIndex(({ product }) => product === focused));
    place(this.#list, ordered.map(({ node }) => node), pivot);
    if (focused !== null && !staying.has(focused)) ordered[Math.min(before.get(focused), ordered.length - 1)]?.button.focus();
    if (focused === null) this.#enter(ordered[0]?.node);
    glide(slots.map(({ product }, index) => {
      const lane = ordered[index];
      return { lane, from: tops.get(product), rose: before.get(product) > index };
    }));
  }

  #clicked(event) {
    const byKeyboard = event.detail === 0;
    const product = (byKeyboard ? null : this.#pressed) ?? laneOf(event.target)?.dataset.product;
    if (product) this.#onOpen(product, byKeyboard);
  }

  #steer(event) {
    const nodes = [...this.#list.children];
    const here = nodes.indexOf(laneOf(event.target));
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: nodes.length - 1 }[event.key];
    if (there === undefined || here < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    nodes[there]?.firstChild.focus();
  }

  /** One lane is the tab stop of the list; the arrow keys lead to the others. */
  #enter(node) {
    if (!node) return;
    for (const { button } of this.#lanes.values()) button.tabIndex = button === node.firstChild ? 0 : -1;
  }
}

function laneOf(node) {
  return node?.closest?.(".lane") ?? null;
}

/** Puts the nodes in order around the pivot, which itself is never taken out (it keeps the focus). */
function place(list, nodes, pivot) {
  if (nodes.length === 0) return;
  if (nodes[pivot].parentNode !== list) list.append(nodes[pivot]);
  for (let index = pivot - 1; index >= 0; index -= 1) {
    if (nodes[index].nextSibling !== nodes[index + 1]) list.insertBefore(nodes[index], nodes[index + 1]);
  }
  for (let index = pivot + 1; index < nodes.length; index += 1) {
    if (nodes[index].previousSibling !== nodes[index - 1]) nodes[index - 1].after(nodes[index]);
  }
}

/** FLIP: every lane starts from where it was seen and glides to where it is now, on the compositor. */
function glide(moves) {
  if (calm.matches) return;
  for (const { lane } of moves) {
    lane.gliding?.cancel();
    lane.node.classList.remove("rising");
  }
  const tops = moves.map(({ lane }) => lane.node.getBoundingClientRect().top);
  const inSight = (top) => top > -200 && top < innerHeight + 100;
  moves.forEach(({ lane, from, rose }, index) => {
    const to = tops[index];
    lane.gliding = null;
    if (from === undefined) {
      if (inSight(to)) lane.node.animate([{ opacity: 0 }, { opacity: 1 }], GLIDE);
      return;
    }
    if (Math.abs(from - to) < 1 || !(inSight(from) || inSight(to))) return;
    lane.node.classList.toggle("rising", rose);
    lane.gliding = lane.node.animate([{ transform: `translateY(${from - to}px)` }, { transform: "none" }], GLIDE);
    lane.gliding.onfinish = () => lane.node.classList.remove("rising");
  });
}
