// A venue page as a shop may have it: it uses nothing but the public API, by saima-client.js.

import { Saima } from "./saima-client.js";
import { Shelf, put } from "./shelf.js";
import { language, say, writeLeft, writeTime } from "./storefront-words.js";

const TICK_MS = 250;
const TOP_PX = 120; // so near to the top the order is live again
const AHEAD = "800px"; // the next page is read before its place is in sight

const by = (id) => document.getElementById(id);
const address = new URL(location.href);
const { base: told, beaconKey = "" } = document.body.dataset; // a key of role beacon is no secret: an address may hold it
const base = new URL(told || "..", location.href);
const limit = Number(address.searchParams.get("limit")) || 50; // slots of a page, and of the order that is live

let saima = null;
let head = null; // all but the slots of the frame on screen
let unfollow = null; // while the order is live
let pages = null; // while one frame is scrolled through
let reading = false;

const shelf = new Shelf(by("shelf"), (node, entry) => (entry ? saima.watch(node, entry) : saima.unwatch(node)));

function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  const other = new URL(address);
  other.searchParams.set("lang", language === "zh" ? "en" : "zh");
  by("language").href = other.search;
  put(by("language"), say("otherLanguage"));
  put(by("end"), say("endOfShelf"));
}

function showState(state) {
  by("state").dataset.state = state;
  put(by("state"), say(state, { time: writeTime(head?.at_ms) }));
}

function showNotice(text) {
  put(by("notice"), text);
  by("notice").hidden = text === "";
}

function showHead({ slots, ...rest }) {
  head = rest;
  by("shelf").dataset.frame = `${head.epoch}-${head.frame}`;
  put(by("phase-name"), head.phase ? say("ends", { phase: head.phase }) : say("begins"));
  tick();
}

function tick() {
  const ends = head?.phase_ends_ms ?? null;
  by("phase").hidden = ends === null;
  if (ends !== null) put(by("countdown"), writeLeft(ends - saima.nowMs));
}

/** The order as it is now, moving as it does. */
function goLive() {
  pages = null;
  by("newer").hidden = by("end").hidden = true;
  unfollow ??= saima.follow((board) => {
    if (unfollow === null) return; // pinned meanwhile
    showHead(board);
    shelf.show(board.slots);
    showNotice(board.slots.length ? "" : say("empty"));
  }, showState);
}

/** One frame to scroll through: what is above stays as it is, however the race goes on. */
async function pin() {
  const own = (pages = saima.pages());
  const { value: first } = await own.next();
  if (pages !== own) return;
  unfollow?.();
  unfollow = null;
  showHead(first);
  shelf.show(first.slots);
  put(by("newer"), say("newer", { time: writeTime(first.at_ms) }));
  by("newer").hidden = false;
  showState("pinned");
}

async function readMore() {
  if (reading || shelf.size === 0 || scrollY < TOP_PX) return;
  reading = true;
  try {
    if (pages === null) await pin();
    const own = pages;
    const { value: page, done } = own === null ? { done: false } : await own.next();
    if (own === null || pages !== own) return;
    if (page) shelf.append(page.slots);
    by("end").hidden = !done;
  } finally {
    reading = false;
  }
  requestAnimationFrame(() => isMoreInSight() && by("end").hidden && readMore());
}

function isMoreInSight() {
  return by("more").getBoundingClientRect().top < innerHeight + Number.parseInt(AHEAD, 10);
}

by("newer").addEventListener("click", () => scrollTo({ top: 0 }));
by("shelf").addEventListener("click", ({ target }) => {
  const entry = shelf.entryOf(target);
  if (entry) saima.click(entry);
});
addEventListener("scroll", () => {
  if (pages !== null && scrollY < TOP_PX / 2) goLive();
  else if (isMoreInSight()) readMore();
}, { passive: true });
new IntersectionObserver(readMore, { rootMargin: AHEAD }).observe(by("more"));

/** The venue that the page or its address names, else the first there is. */
async function venueOf() {
  const named = document.body.dataset.venue || address.searchParams.get("venue");
  const answer = await fetch(new URL(named ? `v1/venues/${encodeURIComponent(named)}` : "v1/venues?limit=1", base));
  if (!answer.ok) throw new Error(say("unknown", { venue: named }));
  const found = await answer.json();
  const venue = named ? found : found.venues[0];
  if (!venue) throw new Error(say("noVenue"));
  return venue;
}

async function open() {
  speak();
  showState("connecting");
  const venue = await venueOf();
  put(by("title"), venue.title);
  document.title = venue.title;
  saima = new Saima(venue.venue, { base, key: beaconKey || address.searchParams.get("key") || undefined, limit });
  goLive();
  setInterval(tick, TICK_MS);
}

open().catch(({ message }) => showNotice(message));
