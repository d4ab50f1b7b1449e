// Reads, follows and reports the slots of one venue: docs/front-ends.md

const RETRY_MS = [1000, 2000, 4000, 8000, 15000, 30000];
const GIVE_UP_MS = 8000;
const POLL_MS = 1000;
const STREAM_AGAIN_MS = 30000;
const QUIET_MS = 20000; // pings are not seen from here: it asks whether there is news
const FLUSH_MS = 2000;
const BATCH = 100;
const BATCHES = 4; // browsers let a page that is left send 64 KiB
const WAITING = 1000;
const SEEN_SHARE = 0.5;
const SEEN_MS = 1000;

const now = () => performance.now();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const newName = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("-");

function beforeRetry(tries) {
  const ms = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] * (0.5 + Math.random() / 2);
  const online = new Promise((resolve) => addEventListener("online", resolve, { once: true }));
  return Promise.race([pause(ms), online]);
}

export const nameOf = (board) => `${board?.epoch}-${board?.frame}`;

/** The board that changes make of the one that they are since. */
export function applied(board, { head, left, moves, changed, entered }) {
  const slots = new Map(board.slots.map((slot) => [slot.product, slot]));
  left.forEach((product) => slots.delete(product));
  for (const { was, ...fields } of [...moves, ...changed]) {
    const slot = Object.entries({ ...slots.get(fields.product), ...fields }).filter(([, value]) => value !== null);
    slots.set(fields.product, Object.fromEntries(slot));
  }
  entered.forEach((slot) => slots.set(slot.product, slot));
  return { ...head, slots: [...slots.values()].sort((a, b) => a.slot - b.slot) };
}

export class Saima {
  #path;
  #options;
  #ended = new AbortController();
  #queue = []; // events that no batch holds yet
  #batches = new Map(); // name -> { body, busy }, until it is answered
  #timer = 0;
  #aheadMs = 0;
  #watched = new WeakMap(); // element -> { slot, timer }
  #seen = new Set(); // products
  #observer = new IntersectionObserver((entries) => entries.forEach((entry) => this.#look(entry)), {
    threshold: SEEN_SHARE,
  });

  /**
   * options: base (of the service), key (of role beacon), user, segment, limit (slots of a page and of the board that is
   * followed), query and headers (of reads), ticket (makes one for a private stream), onError(error).
   */
  constructor(venue, options = {}) {
    this.#options = { base: new URL("..", import.meta.url), limit: 50, onError() {}, ...options };
    this.#path = new URL(`v1/venues/${encodeURIComponent(venue)}/`, this.#options.base).href;
    const { signal } = this.#ended;
    document.addEventListener("visibilitychange", () => this.flush(document.hidden), { signal });
    addEventListener("pagehide", () => this.flush(true), { signal });
    addEventListener("online", () => this.flush(), { signal });
  }

  /** Sends what waits, and ends all that goes on. */
  close() {
    this.flush(true);
    this.#ended.abort();
    this.#observer.disconnect();
  }

  // -- reading

  /** The service's time, as the last answer told it. */
  get nowMs() {
    return Date.now() + this.#aheadMs;
  }

  #url(what, query) {
    const { limit, query: always } = this.#options;
    const asked = query?.cursor ? query : { tokens: true, ...always, ...query }; // a cursor says the rest
    return `${this.#path}${what}?${new URLSearchParams({ limit, ...asked })}`;
  }

  async #read(what, query) {
    const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(GIVE_UP_MS)]);
    const answer = await fetch(this.#url(what, query), { signal, headers: this.#options.headers });
    if (!answer.ok) throw Object.assign(new Error(`${what}: ${answer.status}`), { status: answer.status });
    this.#aheadMs = (Number(answer.headers.get("saima-now-ms")) || Date.now()) - Date.now();
    return answer.json();
  }

  /** A page of a board: its first slots now, or those after { cursor }. */
  slots(query) {
    return this.#read("slots", query);
  }

  /**
   * The pages of one frame, whatever the race does meanwhile: no product comes twice, none is left out. Where the frame
   * is no longer kept, the rest of the current one follows. It waits while there is no line.
   */
  async *pages() {
    const shown = new Set();
    for (let cursor, tries = 0; cursor !== null; ) {
      try {
        const page = await this.slots(cursor && { cursor });
        const slots = page.slots.filter(({ product }) => !shown.has(product));
        slots.forEach(({ product }) => shown.add(product));
        cursor = page.next ?? null;
        tries = 0;
        if (slots.length || cursor === null) yield { ...page, slots };
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        if (error.status === 410) cursor = undefined;
        else if (error.status < 500 && error.status !== 429) throw error;
        else await beforeRetry(tries++);
      }
    }
  }

  /**
   * Calls onBoard(board) now and after each change, and onState("live", "polling" or "offline"), until the function that
   * it returns is called. Where no stream comes through, it asks for changes.
   */
  follow(onBoard, onState = () => {}) {
    const ended = new AbortController();
    const line = { signal: AbortSignal.any([ended.signal, this.#ended.signal]) };
    line.say = (state) => state !== line.state && !line.signal.aborted && onState((line.state = state));
    line.take = (message) => {
      const whole = message.slots ? message : message.full;
      if (!whole && message.since !== nameOf(line.board)) return false;
      line.board = whole ?? applied(line.board, message);
      queueMicrotask(() => line.signal.aborted || onBoard(line.board)); // its errors are its own
      return true;
    };
    this.#follow(line);
    return () => ended.abort();
  }

  async #follow(line) {
    let streamAt = 0;
    addEventListener("online", () => (streamAt = 0), { signal: line.signal });
    for (let tries = 0; !line.signal.aborted; ) {
      const since = line.board && { since: nameOf(line.board) };
      try {
        if (now() >= streamAt) {
          streamAt = now() + STREAM_AGAIN_MS;
          await this.#stream(line, since);
          streamAt = 0; // it came through, and may again
          await pause(POLL_MS * Math.random());
        } else {
          const message = await this.#read("changes", since);
          if (message.full || message.next !== message.since || message.changed[0]) line.take(message);
          line.say("polling");
          await pause(POLL_MS);
        }
        tries = 0;
      } catch (error) {
        if (error.status === 404) this.#options.onError(error);
        if (tries++) line.say("offline");
        await beforeRetry(tries - 1);
      }
    }
  }

  /** Rejects where the stream brought nothing. */
  async #stream(line, since) {
    const ticket = this.#options.ticket && { ticket: await this.#options.ticket() };
    const source = new EventSource(this.#url("live", { ...since, ...ticket }));
    const over = new AbortController();
    const { signal } = over;
    let heardAt = 0;
    let timer;
    try {
      await new Promise((end, fail) => {
        const hear = ({ data }) => {
          heardAt = now();
          if (!line.take(JSON.parse(data))) line.board = end(); // it is read anew
          line.say("live");
        };
        const stop = () => (heardAt ? end() : fail(new Error("no stream")));
        source.addEventListener("frame", hear);
        source.addEventListener("changes", hear);
        for (const kind of ["bye", "error"]) source.addEventListener(kind, stop);
        for (const kind of ["offline", "pagehide"]) addEventListener(kind, stop, { signal });
        line.signal.addEventListener("abort", stop, { signal });
        timer = setInterval(async () => {
          if (now() - heardAt < QUIET_MS) return;
          const { since: had, next } = await this.#read("changes", { since: nameOf(line.board) }).catch(() => ({}));
          if (had !== next || !next) stop();
        }, QUIET_MS);
      });
    } finally {
      clearInterval(timer);
      over.abort();
      source.close();
    }
  }

  // -- telling what shoppers saw and did

  /** Tells an impression once half of the element has been in sight for a second; call it again when the slot changes. */
  watch(element, slot) {
    const known = this.#watched.get(element);
    if (known?.slot.product === slot.product) {
      known.slot = slot;
      return;
    }
    this.unwatch(element);
    this.#watched.set(element, { slot });
    this.#observer.observe(element);
  }

  unwatch(element) {
    clearTimeout(this.#watched.get(element)?.timer);
    this.#watched.delete(element);
    this.#observer.unobserve(element);
  }

  #look({ target, intersectionRatio }) {
    const watched = this.#watched.get(target);
    clearTimeout(watched?.timer);
    if (watched && intersectionRatio >= SEEN_SHARE) this.#wait(watched);
  }

  #wait(watched) {
    watched.timer = setTimeout(() => {
      if (document.hidden) return this.#wait(watched);
      if (this.#seen.has(watched.slot.product)) return;
      this.#seen.add(watched.slot.product);
      this.tell("impression", watched.slot);
    }, SEEN_MS);
  }

  /** Tells a click at once: the page may be left for it. */
  click(slot) {
    this.tell("click", slot);
    this.flush();
  }

  /** Tells an event of any public kind, with the next batch. */
  tell(type, { product, token }, more) {
    const { user, segment } = this.#options;
    this.#queue.push({ type, product, token, user, segment, ...more });
    if (this.#queue.length > WAITING) this.#queue.shift();
    if (this.#queue.length >= BATCH) this.flush();
    this.#timer ||= setTimeout(() => this.flush(), FLUSH_MS);
  }

  /** Sends what waits; what is sent again has the same name, and counts once. */
  flush(leaving = false) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    while (this.#queue.length && this.#batches.size < BATCHES) {
      const batch = newName();
      const body = JSON.stringify({ batch, key: this.#options.key, events: this.#queue.splice(0, BATCH) });
      this.#batches.set(batch, { body, busy: false });
    }
    for (const [name, batch] of this.#batches) {
      if (leaving) navigator.sendBeacon(`${this.#path}beacons`, batch.body);
      else if (!batch.busy) this.#send(name, batch);
    }
  }

  async #send(name, batch) {
    batch.busy = true;
    for (let tries = 0; this.#batches.has(name); ) {
      try {
        const signal = AbortSignal.timeout(GIVE_UP_MS);
        const answer = await fetch(`${this.#path}beacons`, { method: "POST", body: batch.body, keepalive: true, signal });
        if (answer.status >= 500 || answer.status === 429) throw answer;
        const told = await answer.json().catch(() => ({}));
        this.#batches.delete(name);
        if (answer.status === 401 || answer.status === 403) this.tell = () => {}; // nobody takes it
        for (const refused of answer.ok ? (told.refused ?? []) : [told]) this.#options.onError(refused);
      } catch {
        await beforeRetry(tries++);
      }
    }
    if (this.#queue.length) this.flush();
  }
}
