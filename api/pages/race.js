// The page: header, venue picker, and the parts that show one venue's race.

import { Details } from "./details.js";
import { Feed, fetchVenues } from "./feed.js";
import { Lanes, put } from "./lanes.js";
import { language, say, writeAge, writeWhole } from "./words.js";

const TICK_MS = 100;
const RETRY_MS = 2000;

const by = (id) => document.getElementById(id);
const address = new URL(location.href);
let venues = [];
let feed = null;
let board = null;
let lineIsDown = false; // while there is no feed to say it

const details = new Details(by("details"), (product, hadFocus) => {
  lanes.markOpen(null);
  by("main").classList.remove("with-details");
  if (hadFocus) lanes.focus(product);
});
const lanes = new Lanes(by("lanes"), (product, byKeyboard) => {
  if (details.product === product) return details.close();
  by("main").classList.add("with-details");
  lanes.markOpen(product);
  details.open(product, board.slots, byKeyboard);
});

function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = say(node.dataset.word);
  for (const node of document.querySelectorAll("[data-hint]")) node.title = say(node.dataset.hint);
  for (const node of document.querySelectorAll("[data-label]")) node.ariaLabel = say(node.dataset.label);
  const other = by("language");
  other.textContent = say("otherLanguage");
  other.lang = language === "zh" ? "en" : "zh-CN";
  other.title = say("otherLanguageLabel");
}

/** Links that stay on this venue, and keep a language that was asked for. */
function link() {
  const other = new URL(address);
  other.searchParams.set("lang", language === "zh" ? "en" : "zh");
  by("language").href = other.search;
}

function showHeader() {
  const found = venues.find(({ venue }) => venue === by("venue").value);
  const title = found?.title || by("venue").value;
  put(by("venue-title"), title);
  document.title = title ? `${title} · Saima` : say("page");
  put(by("frame"), board ? writeWhole(board.frame) : "–");
  put(by("rule"), board ? say("ruleVersion", { version: board.rule_version }) : "–");
  const runners = board?.runners ?? found?.runners ?? undefined; // a venue may keep it to itself
  const slots = found?.slots ?? board?.slots.length;
  put(by("runners"), runners === undefined || slots === undefined ? "–" : say("runnersOfSlots", { runners: writeWhole(runners), slots: writeWhole(slots) }));
}

/** Says why there is nothing to see; "" when there is. */
function showNotice(text) {
  put(by("notice"), text);
  by("notice").hidden = text === "";
  by("field").hidden = text !== "";
}

function tick() {
  const state = feed?.state ?? (lineIsDown ? "offline" : "connecting");
  const node = by("state");
  if (node.dataset.state !== state || node.textContent === "") {
    node.dataset.state = state;
    document.body.dataset.state = state;
    node.textContent = say(state);
    node.title = say(`${state}Hint`);
  }
  const age = feed?.ageMs ?? null;
  put(by("age"), age === null ? "" : writeAge(age));
  if (feed === null) return;
  if (feed.missing) showNotice(say("unknownVenue", { venue: by("venue").value }));
  else showNotice(board !== null && board.slots.length === 0 ? say("noRunners") : "");
}

function follow(venue) {
  feed?.stop();
  details.close();
  lanes.clear();
  board = null;
  by("venue").value = venue;
  feed = new Feed(venue, (frame) => {
    if (frame !== null) board = frame;
    lanes.show(frame === null ? null : frame.slots);
    if (frame === null) return;
    details.show(frame.slots);
    showHeader();
  });
  feed.start();
  showHeader();
  link();
}

function offer(names) {
  const options = names.map(({ venue, title }) => {
    const option = document.createElement("option");
    option.value = venue;
    option.textContent = title || venue;
    return option;
  });
  by("venue").replaceChildren(...options);
}

/** The address's venue if it names one, else the first; asks again until there is one. */
async function choose() {
  const asked = address.searchParams.get("venue");
  if (asked) {
    offer([{ venue: asked }]);
    follow(asked);
  }
  for (;;) {
    try {
      venues = await fetchVenues();
      lineIsDown = false;
      if (venues.length > 0) break;
      if (!asked) showNotice(say("noVenue"));
    } catch {
      lineIsDown = true;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  const chosen = asked || venues[0].venue;
  const unknown = venues.some(({ venue }) => venue === chosen) ? [] : [{ venue: chosen }];
  offer([...unknown, ...venues]);
  by("venue").value = chosen;
  if (asked) showHeader();
  else follow(chosen);
}

by("venue").addEventListener("change", () => {
  address.searchParams.set("venue", by("venue").value);
  history.replaceState(null, "", address);
  follow(by("venue").value);
});

speak();
link();
tick();
setInterval(tick, TICK_MS);
choose();
