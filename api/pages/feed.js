// Follows one venue's frames: polls the slots, knows how old the data is and whether the line is up.

const EVERY_MS = 400;
const BACK_OFF_MS = 2000;
const GIVE_UP_MS = 4000; // one request may take so long
const SILENCE_MS = 5000; // without an answer for so long the line counts as down
const FAILURES_UNTIL_OFFLINE = 2;

export class Feed {
  #venue;
  #onFrame;
  #stopped = new AbortController();
  #wake = () => {};
  #etag = null;
  #stale = false;
  #failures = 0;
  #missing = false;
  #answeredAt = null; // performance.now() of the last good answer
  #awakeAt = performance.now();
  #ageAtAnswer = null;

  /** onFrame(frame or null) is called after each good answer; null means the frame is still the same. */
  constructor(venue, onFrame) {
    this.#venue = venue;
    this.#onFrame = onFrame;
  }

  start() {
    const { signal } = this.#stopped;
    document.addEventListener("visibilitychange", () => this.#seen(), { signal });
    addEventListener("online", () => this.#wake(), { signal });
    this.#run();
  }

  stop() {
    this.#stopped.abort();
    this.#wake();
  }

  /** "connecting", "live", "stale" or "offline". */
  get state() {
    const failing = this.#failures >= FAILURES_UNTIL_OFFLINE;
    if (this.#answeredAt === null) return failing ? "offline" : "connecting";
    const silent = performance.now() - Math.max(this.#answeredAt, this.#awakeAt) > SILENCE_MS;
    if (failing || silent) return "offline";
    return this.#stale ? "stale" : "live";
  }

  /** How old the scorer's last commit is now, in ms; null before the first answer. */
  get ageMs() {
    return this.#ageAtAnswer === null ? null : this.#ageAtAnswer + performance.now() - this.#answeredAt;
  }

  /** Whether the service says that there is no such venue. */
  get missing() {
    return this.#missing;
  }

  async #run() {
    const stopped = this.#stopped.signal;
    while (!stopped.aborted) {
      const began = performance.now();
      if (!document.hidden) {
        const answer = await this.#ask();
        if (stopped.aborted) return;
        this.#failures = answer === null && !this.#missing ? this.#failures + 1 : 0;
        if (answer !== null) this.#onFrame(answer.frame);
      }
      const pace = this.#missing ? BACK_OFF_MS : Math.min(BACK_OFF_MS, EVERY_MS * 2 ** Math.min(this.#failures, 8));
      await this.#rest(document.hidden ? null : Math.max(0, pace - (performance.now() - began)));
    }
  }

  /** One request; null when it brought nothing: no line, too slow, an error status or no JSON. */
  async #ask() {
    try {
      const answer = await fetch(`v1/venues/${encodeURIComponent(this.#venue)}/slots?limit=50`, {
        cache: "no-store",
        headers: this.#etag ? { "If-None-Match": this.#etag } : {},
        signal: AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(GIVE_UP_MS)]),
      });
      this.#missing = answer.status === 404;
      if (!answer.ok && answer.status !== 304) return null;
      const arrivedAt = performance.now();
      const frame = answer.status === 304 ? null : await answer.json();
      const age = Number.parseFloat(answer.headers.get("Saima-Age-Ms"));
      this.#etag = answer.headers.get("ETag") ?? this.#etag;
      this.#stale = answer.headers.get("Saima-Stale") === "true" || frame?.stale === true;
      this.#ageAtAnswer = Number.isNaN(age) ? null : age;
      this.#answeredAt = arrivedAt;
      return { frame };
    } catch {
      this.#missing = false;
      return null;
    }
  }

  /** Sleeps for ms (null: until woken); also ends when the tab is seen again or the feed stops. */
  #rest(ms) {
    return new Promise((resolve) => {
      const timer = ms === null ? undefined : setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #seen() {
    if (document.hidden) return;
    this.#awakeAt = performance.now();
    this.#wake();
  }
}

/** All venues, page by page. */
export async function fetchVenues() {
  const venues = [];
  let cursor = null;
  do {
    const query = cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`;
    const answer = await fetch(`v1/venues${query}`, { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (!answer.ok) throw new Error(`the list of venues answered ${answer.status}`);
    const page = await answer.json();
    venues.push(...page.venues);
    cursor = page.next_cursor;
  } while (cursor !== null && cursor !== undefined && venues.length < 1000);
  return venues;
}
