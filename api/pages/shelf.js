// The shelf: one card per product, reused while it is there, gliding to its new place when the order changes.
//
// All cards have one size, so a card's place is known without asking the browser, and a new order costs no layout: cards are
// moved by transforms, which the compositor animates. Only what is in sight glides: a transition costs a style pass, seen or
// not. The order of the nodes, which is that of the Tab key, follows.

import { say, sayBadge, writePrice } from "./storefront-words.js";

const GAP_PX = 10;
const WIDTH_PX = 150; // of a card, at least; on a phone half of what there is
const HEIGHT_PX = 280;
const NODES_AFTER_MS = 1500;
const TINTS = 8;
const SHOWN = [
  "slot", "title", "url", "image", "price", "list_price", "price_after_coupon", "coupon", "stock", "moved", "gone",
];

function part(tag, className) {
  const node = document.createElement(tag);
  node.className = className;
  return node;
}

/** Sets a text only when it is another one, which spares the browser a layout; its node stays. */
export function put(node, text) {
  const { firstChild } = node;
  if (firstChild?.nodeType !== Node.TEXT_NODE || firstChild.nextSibling) node.textContent = text;
  else if (firstChild.data !== text) firstChild.data = text;
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
    const was = this.entry;
    this.entry = entry;
    if (was && SHOWN.every((name) => was[name] === entry[name]) && String(was.badges) === String(entry.badges)) return;
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

  /** Stands at this point of the shelf, px; glides there if it stood somewhere before, and is in sight here or there. */
  stand(x, y, width, isInSight) {
    const there = `translate(${x}px, ${y}px)`;
    const { style } = this.node;
    const how = isInSight(y) || isInSight(this.y) ? "" : "none";
    this.y = y;
    if (style.transitionProperty !== how) style.transitionProperty = how;
    if (style.width !== `${width}px`) style.width = `${width}px`;
    if (style.transform !== there) style.transform = there;
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
  #columns = 1;
  #width = 0;
  #timer = 0;

  /** onCard(node, entry or null) is called for each card that is shown, or leaves. */
  constructor(list, onCard) {
    this.#list = list;
    this.#onCard = onCard;
    this.#fit(list.clientWidth);
    new ResizeObserver(([{ contentRect }]) => this.#fit(contentRect.width)).observe(list);
  }

  get size() {
    return this.#ordered.length;
  }

  entryOf(node) {
    return this.#cards.get(node?.closest?.(".card")?.dataset.product)?.entry ?? null;
  }

  /** Shows these slots, in their order, and no others. */
  show(entries) {
    const isInSight = this.#sight();
    const staying = new Set(entries.map(({ product }) => product));
    for (const [product, card] of this.#cards) if (!staying.has(product)) this.#drop(product, card);
    this.#ordered = entries.map((entry) => this.#show(entry));
    this.#arrange(isInSight);
  }

  /** Puts more slots after those that are shown; one that is shown already stays where it is. */
  append(entries) {
    const isInSight = this.#sight();
    const more = entries.filter(({ product }) => !this.#cards.has(product));
    this.#ordered.push(...more.map((entry) => this.#show(entry)));
    this.#arrange(isInSight);
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

  #fit(width) {
    if (width === this.#width) return;
    this.#width = width;
    this.#columns = Math.max(2, Math.floor((width + GAP_PX) / (WIDTH_PX + GAP_PX)));
    this.#arrange(this.#sight());
  }

  /** Tells of a card's top whether the card is in sight. Read before anything is written, so it forces no layout. */
  #sight() {
    const { top } = this.#list.getBoundingClientRect();
    return (y) => y > -top - HEIGHT_PX && y < innerHeight - top;
  }

  /** Gives every card its place. New nodes come in at the end; those that are there are put in order when it is calm. */
  #arrange(isInSight) {
    const width = Math.floor((this.#width + GAP_PX) / this.#columns) - GAP_PX;
    this.#ordered.forEach((card, index) => {
      const [row, column] = [Math.floor(index / this.#columns), index % this.#columns];
      card.stand(column * (width + GAP_PX), row * (HEIGHT_PX + GAP_PX), width, isInSight);
    });
    const height = `${Math.ceil(this.#ordered.length / this.#columns) * (HEIGHT_PX + GAP_PX)}px`;
    if (this.#list.style.height !== height) this.#list.style.height = height;
    this.#list.append(...this.#ordered.filter(({ node }) => !node.isConnected).map(({ node }) => node));
    this.#timer ||= setTimeout(() => this.#order(), NODES_AFTER_MS);
  }

  #order() {
    this.#timer = 0;
    const focused = document.activeElement;
    place(this.#list, this.#ordered.map(({ node }) => node));
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  }
}

/** Puts the nodes in order, moves few of them for it, and interrupts no glide where the browser knows how. */
function place(list, nodes) {
  const move = (list.moveBefore ?? list.insertBefore).bind(list);
  let at = list.firstChild;
  for (const node of nodes) {
    if (at?.nextSibling === node) at = node; // the one between comes later
    if (at === node) at = node.nextSibling;
    else move(node, at);
  }
}
