// The shelf: one card per product, reused while it is there, gliding to its new place when the order changes.

import { say, sayBadge, writePrice } from "./storefront-words.js";

const GLIDE = { duration: 450, easing: "cubic-bezier(.22,.8,.26,1)" };
const NEAR = 300; // px: cards that far out of sight do not glide
const TINTS = 8;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

function part(tag, className) {
  const node = document.createElement(tag);
  node.className = className;
  return node;
}

/** Sets a text only when it is another one, which spares the browser a layout. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

/** The same colour for a product on every page. */
function tintOf(product) {
  let hash = 2166136261; // FNV-1a
  for (const letter of product) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  return String((hash >>> 13) % TINTS);
}

/** Addresses that a page may lead to or show: what merchants write is not trusted. */
function webAddress(text) {
  const url = text ? URL.parse(text) : null;
  return url && /^https?:$/.test(url.protocol) ? url.href : null;
}

class Card {
  constructor() {
    this.node = part("li", "card");
    this.link = part("a", "card-link");
    this.picture = part("div", "picture");
    this.initial = part("span", "initial");
    this.slot = part("span", "slot");
    this.moved = part("span", "moved");
    this.badges = part("span", "badges");
    this.title = part("span", "title");
    this.price = part("span", "price");
    this.before = part("s", "before");
    this.note = part("span", "note");
    const prices = part("span", "prices");
    prices.append(this.price, this.before);
    this.picture.append(this.initial, this.slot, this.moved);
    this.link.append(this.picture, this.title, prices, this.note, this.badges);
    this.node.append(this.link);
  }

  show(entry) {
    this.entry = entry;
    const title = entry.title ?? entry.product;
    mark(this.node, "product", entry.product);
    mark(this.node, "slot", String(entry.slot));
    mark(this.node, "gone", String(entry.gone === true || entry.stock === 0));
    mark(this.picture, "tint", tintOf(entry.product));
    put(this.slot, String(entry.slot));
    put(this.title, title);
    put(this.initial, [...title][0] ?? "");
    this.#lead(webAddress(entry.url), say("label", { slot: entry.slot, title }));
    this.#picture(webAddress(entry.image));
    const now = entry.price_after_coupon ?? entry.price;
    const before = entry.list_price ?? (entry.price_after_coupon === undefined ? undefined : entry.price);
    put(this.price, now === undefined ? "" : writePrice(now));
    put(this.before, before === undefined || before <= now ? "" : writePrice(before));
    put(this.note, noteOf(entry));
    this.#move(entry.moved ?? 0);
    this.#badge(entry.badges ?? []);
  }

  #lead(address, label) {
    if (address === null) this.link.removeAttribute("href");
    else if (this.link.href !== address) this.link.href = address;
    if (this.link.ariaLabel !== label) this.link.ariaLabel = label;
  }

  #picture(address) {
    if (address === (this.image?.src ?? null)) return;
    this.image?.remove();
    this.image = null;
    if (address === null) return;
    this.image = new Image();
    this.image.alt = "";
    this.image.loading = "lazy";
    this.image.src = address;
    this.picture.prepend(this.image);
  }

  #move(places) {
    mark(this.moved, "way", places > 0 ? "up" : places < 0 ? "down" : "none");
    put(this.moved, places > 0 ? `▲${places}` : places < 0 ? `▼${-places}` : "");
    this.moved.title = places ? say(places > 0 ? "up" : "down", { places: Math.abs(places) }) : "";
  }

  #badge(names) {
    if (names.join() === this.node.dataset.badges) return;
    mark(this.node, "badges", names.join());
    this.badges.replaceChildren(
      ...names.map((name) => {
        const badge = part("span", "badge");
        badge.dataset.badge = name;
        badge.textContent = sayBadge(name);
        return badge;
      }),
    );
  }
}

function noteOf({ gone, stock, coupon }) {
  if (gone) return say("gone");
  if (stock === 0) return say("soldOut");
  const notes = [];
  if (coupon) notes.push(coupon.title ?? say(coupon.above ? "couponAbove" : "coupon", { off: writePrice(coupon.off), above: writePrice(coupon.above ?? 0) }));
  if (stock !== undefined) notes.push(say("stockLeft", { stock }));
  return notes.join(" · ");
}

export class Shelf {
  #list;
  #onCard;
  #cards = new Map(); // product -> Card
  #ordered = [];

  /** onCard(node, entry or null) is called for each card that is shown, or leaves. */
  constructor(list, onCard) {
    this.#list = list;
    this.#onCard = onCard;
  }

  get size() {
    return this.#ordered.length;
  }

  entryOf(node) {
    return this.#cards.get(node?.closest?.(".card")?.dataset.product)?.entry ?? null;
  }

  /** Shows these slots, in their order, and no others. */
  show(entries) {
    const focused = document.activeElement;
    const before = new Map(this.#ordered.map((card) => [card, card.node.getBoundingClientRect()]));
    const staying = new Set(entries.map(({ product }) => product));
    for (const [product, card] of this.#cards) if (!staying.has(product)) this.#drop(product, card);
    this.#ordered = entries.map((entry) => this.#show(entry));
    place(this.#list, this.#ordered.map(({ node }) => node));
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    glide(this.#ordered, before);
  }

  /** Puts more slots after those that are shown; one that is shown already stays where it is. */
  append(entries) {
    const cards = entries.filter(({ product }) => !this.#cards.has(product)).map((entry) => this.#show(entry));
    this.#ordered.push(...cards);
    this.#list.append(...cards.map(({ node }) => node));
  }

  #show(entry) {
    const card = this.#cards.get(entry.product) ?? new Card();
    this.#cards.set(entry.product, card);
    card.show(entry);
    this.#onCard(card.node, entry);
    return card;
  }

  #drop(product, card) {
    card.node.remove();
    this.#cards.delete(product);
    this.#onCard(card.node, null);
  }
}

/** Puts the nodes in order, and moves few of them for it. */
function place(list, nodes) {
  let at = list.firstChild;
  for (const node of nodes) {
    if (at?.nextSibling === node) at = node; // the one between comes later
    if (at === node) at = node.nextSibling;
    else list.insertBefore(node, at);
  }
}

/** FLIP: every card starts from where it was seen and glides to where it is now, on the compositor. */
function glide(cards, before) {
  if (calm.matches) return;
  for (const card of cards) card.gliding?.cancel();
  const after = cards.map(({ node }) => node.getBoundingClientRect());
  cards.forEach((card, index) => {
    const [from, to] = [before.get(card), after[index]];
    card.gliding = null;
    if (!inSight(to) && !(from && inSight(from))) return;
    const [x, y] = from ? [from.left - to.left, from.top - to.top] : [0, 0];
    if (from && Math.abs(x) < 1 && Math.abs(y) < 1) return;
    const start = from ? { transform: `translate(${x}px, ${y}px)` } : { opacity: 0 };
    card.gliding = card.node.animate([start, from ? { transform: "none" } : { opacity: 1 }], GLIDE);
  });
}

function inSight({ top, bottom }) {
  return bottom > -NEAR && top < innerHeight + NEAR;
}
