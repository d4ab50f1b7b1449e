"""saima-client.js in a real browser, with the network played by a few lines: what it sends, and makes of answers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import pytest
from selenium.webdriver import Chrome

from api.changes import changes
from api.client import Board, applied
from tests.integration.browsing import chromium, needs_browser
from tests.integration.running import Running

pytestmark = needs_browser

PLAY = """
const [script, done] = arguments;
const later = window.setTimeout.bind(window);
window.speed = 50; // what takes a second takes 20 ms
window.setTimeout = (act, ms) => later(act, ms / speed);
window.asked = [];
window.beacons = [];
window.answers = {};
const respond = (status, body) => new Response(JSON.stringify(body), { status });
window.fetch = async (url, { body, signal } = {}) => {
  const { pathname, searchParams } = new URL(url, location.href);
  const what = pathname.split("/").at(-1);
  asked.push({ what, body, query: Object.fromEntries(searchParams) });
  const answer = answers[what]?.shift();
  if (answer === undefined) {
    return new Promise((_, fail) => signal?.addEventListener("abort", () => fail(signal.reason)));
  }
  if (answer === "cut") throw new TypeError("no line");
  return respond(...answer);
};
navigator.sendBeacon = (url, body) => beacons.push({ what: new URL(url).pathname.split("/").at(-1), body });
window.streams = [];
window.EventSource = class extends EventTarget {
  constructor(url) {
    super();
    this.query = Object.fromEntries(new URL(url).searchParams);
    streams.push(this);
  }
  close() { this.closed = true; }
  say(kind, data) { this.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data) })); }
};
window.until = (check) => new Promise((resolve) => {
  const look = () => (check() ? resolve() : later(look, 5));
  look();
});
const run = Object.getPrototypeOf(async () => {}).constructor;
import("/pages/saima-client.js")
  .then((module) => new run("client", script)(module))
  .then(done, (error) => done({ error: `${error.stack}` }));
"""


@pytest.fixture(scope="module")
def browser(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.set_script_timeout(20)
        yield driver


@pytest.fixture
def play(browser: Chrome, service: Running) -> Any:
    """Runs a script in a page of the service, and returns what it returns. `client` is the module."""

    def run(script: str) -> Any:
        browser.get(f"{service.url}/pages/words.js")
        found = browser.execute_async_script(PLAY, script)
        assert not (isinstance(found, dict) and "error" in found), found["error"]
        return found

    return run


TAKEN = "[202, { accepted: 1, duplicate: 0, refused: [] }]"


def test_a_batch_is_sent_again_as_it_was_until_it_is_answered(play: Any) -> None:
    """No line, an overload, an error of the service: the same bytes under the same name."""
    asked = play(f"""
        answers.beacons = ["cut", [503, {{}}], [429, {{}}], [500, {{}}], {TAKEN}];
        const saima = new client.Saima("hall-1", {{ key: "k", user: "u-1" }});
        saima.click({{ product: "p-1", token: "t" }});
        await until(() => asked.length === 5);
        saima.flush();
        return asked;
    """)
    assert len({each["body"] for each in asked}) == 1
    sent = json.loads(asked[0]["body"])
    assert sent.pop("batch")
    assert sent == {"key": "k", "events": [{"type": "click", "product": "p-1", "token": "t", "user": "u-1"}]}


def test_a_batch_that_is_refused_is_told_and_not_sent_again(play: Any) -> None:
    told, asked = play("""
        const told = [];
        const refused = { index: 0, code: "token_expired", reason: "token: ..." };
        answers.beacons = [[422, { code: "invalid" }], [202, { accepted: 0, duplicate: 0, refused: [refused] }]];
        const saima = new client.Saima("hall-1", { onError: (error) => told.push(error.code) });
        saima.click({ product: "p-1", token: "t" });
        await until(() => told.length === 1);
        saima.click({ product: "p-2", token: "t" });
        await until(() => told.length === 2);
        return [told, asked.length];
    """)
    assert (told, asked) == (["invalid", "token_expired"], 2)


def test_where_nobody_takes_what_it_tells_it_tells_no_more(play: Any) -> None:
    """A page without a key, or of another origin."""
    asked = play("""
        answers.beacons = [[401, { code: "unauthorized" }]];
        let told = 0;
        const saima = new client.Saima("hall-1", { onError: () => (told += 1) });
        for (let n = 0; n < 5; n += 1) {
          saima.click({ product: "p-1", token: "t" });
          await until(() => told === 1);
        }
        return asked.length;
    """)
    assert asked == 1


def test_what_is_not_answered_yet_is_sent_by_beacon_when_the_page_is_left(play: Any) -> None:
    """With the batch that is under way, under its own name; a page that is only hidden sends on."""
    asked, beacons = play("""
        const saima = new client.Saima("hall-1");
        saima.click({ product: "p-1", token: "t" });
        saima.tell("impression", { product: "p-2", token: "u" });
        dispatchEvent(new Event("pagehide"));
        return [asked, beacons];
    """)
    assert [each["what"] for each in beacons] == ["beacons", "beacons"]
    assert beacons[0]["body"] == asked[0]["body"]
    assert json.loads(beacons[1]["body"])["events"] == [{"type": "impression", "product": "p-2", "token": "u"}]


def test_what_waits_is_bounded(play: Any) -> None:
    """Four batches of a hundred under way, and a thousand events behind them, the newest ones."""
    asked, last = play(f"""
        const saima = new client.Saima("hall-1");
        for (let n = 1; n <= 3000; n += 1) saima.tell("impression", {{ product: `p-${{n}}`, token: "t" }});
        const under = asked.length;
        dispatchEvent(new Event("pagehide"));
        answers.beacons = Array(14).fill({TAKEN});
        return [under, beacons.length];
    """)
    assert (asked, last) == (4, 4)


def test_pages_are_of_one_frame_and_wait_for_the_line(play: Any) -> None:
    shown, asked = play("""
        const page = (next, ...products) => [200, { next, slots: products.map((product) => ({ product })) }];
        answers.slots = [page("c-1", "a", "b"), "cut", [503, {}], page("c-2", "c"), page(null, "d")];
        const shown = [];
        for await (const { slots } of new client.Saima("hall-1", { limit: 20 }).pages()) {
          shown.push(slots.map(({ product }) => product).join(""));
        }
        return [shown, asked.map(({ query }) => query)];
    """)
    assert shown == ["ab", "c", "d"]
    assert asked[0] == {"limit": "20", "tokens": "true"}
    assert asked[1:] == [{"limit": "20", "cursor": cursor} for cursor in ("c-1", "c-1", "c-1", "c-2")]


def test_where_the_frame_is_gone_the_rest_of_the_current_one_follows(play: Any) -> None:
    shown = play("""
        const page = (next, ...products) => [200, { next, slots: products.map((product) => ({ product })) }];
        answers.slots = [page("c-1", "a", "b"), [410, {}], page("d-1", "b", "a"), page(null, "x", "b", "y")];
        const shown = [];
        for await (const { slots } of new client.Saima("hall-1").pages()) shown.push(...slots);
        return shown.map(({ product }) => product);
    """)
    assert shown == ["a", "b", "x", "y"]


BOARD = '{ epoch: 7, frame: 1, slots: [{ slot: 1, product: "a" }, { slot: 2, product: "b", price: 5 }] }'
CHANGES = """{ since: "7-1", next: "7-2", head: { epoch: 7, frame: 2 }, left: ["a"],
  moves: [{ product: "b", was: 2, slot: 1, token: "t" }], changed: [{ product: "b", price: null, title: "B" }],
  entered: [{ slot: 2, product: "c" }] }"""


def test_a_stream_is_followed(play: Any) -> None:
    boards, states = play(f"""
        const boards = [], states = [];
        const stop = new client.Saima("hall-1").follow((board) => boards.push(board), (state) => states.push(state));
        await until(() => streams.length === 1);
        streams[0].say("frame", {BOARD});
        streams[0].say("changes", {CHANGES});
        await until(() => boards.length === 2);
        stop();
        await until(() => streams[0].closed);
        return [boards, states];
    """)
    assert boards[1] == {
        "epoch": 7,
        "frame": 2,
        "slots": [{"slot": 1, "product": "b", "title": "B", "token": "t"}, {"slot": 2, "product": "c"}],
    }
    assert states == ["live"]


def test_a_stream_that_ends_is_taken_up_where_it_was(play: Any) -> None:
    queries = play(f"""
        new client.Saima("hall-1").follow(() => {{}});
        await until(() => streams.length === 1);
        streams[0].say("frame", {BOARD});
        streams[0].say("bye", {{ reason: "shutdown" }});
        await until(() => streams.length === 2);
        return streams.map(({{ query }}) => query.since ?? null);
    """)
    assert queries == [None, "7-1"]


def test_changes_of_another_board_make_it_read_the_whole(play: Any) -> None:
    queries = play(f"""
        new client.Saima("hall-1").follow(() => {{}});
        await until(() => streams.length === 1);
        streams[0].say("frame", {BOARD});
        streams[0].say("changes", {{ ...{CHANGES}, since: "7-9" }});
        await until(() => streams.length === 2);
        return streams.map(({{ query }}) => query.since ?? null);
    """)
    assert queries == [None, None]


def test_where_no_stream_comes_through_it_asks_and_tries_the_stream_again(play: Any) -> None:
    boards, states, asked = play(f"""
        const boards = [], states = [];
        const same = {{ since: "7-1", next: "7-1", head: {{}}, left: [], moves: [], changed: [], entered: [] }};
        answers.changes = [[200, {{ since: null, next: "7-1", full: {BOARD} }}], [200, same],
          [200, {CHANGES}], "cut", "cut"];
        const real = performance.now.bind(performance);
        performance.now = () => real() * 50;
        new client.Saima("hall-1").follow((board) => boards.push(board.frame), (state) => states.push(state));
        await until(() => streams.length === 1);
        streams[0].say("error", null);
        await until(() => states.includes("offline"));
        await until(() => streams.length === 2);
        streams[1].say("frame", {BOARD});
        await until(() => boards.length === 3);
        return [boards, states, asked.map(({{ what, query }}) => [what, query.since ?? null])];
    """)
    assert boards == [1, 2, 1]
    assert states == ["polling", "offline", "live"]
    assert asked[:4] == [["changes", None], ["changes", "7-1"], ["changes", "7-1"], ["changes", "7-2"]]


def test_an_impression_is_told_once_half_of_it_was_seen_for_a_second(play: Any) -> None:
    """Not what was out of sight, nor what went by; once for a product, with the slot that it has by then."""
    events = play(f"""
        answers.beacons = Array(9).fill({TAKEN});
        document.body.replaceChildren();
        speed = 1;
        const saima = new client.Saima("hall-1");
        const place = (product, top) => {{
          const node = document.createElement("div");
          Object.assign(node.style, {{ position: "absolute", top, left: 0, width: "100px", height: "100px" }});
          document.body.append(node);
          saima.watch(node, {{ product, slot: 1, token: `of ${{product}}` }});
          return node;
        }};
        const seen = place("seen", "0");
        place("twice", "100px");
        place("twice", "200px");
        place("below", "calc(100vh - 40px)");
        const went = place("went", "300px");
        const left = place("left", "400px");
        await until(() => document.timeline.currentTime > 300);
        Object.assign(went.style, {{ top: "200vh" }});
        saima.unwatch(left);
        saima.watch(seen, {{ product: "seen", slot: 2, token: "newer" }});
        await until(() => asked.length > 0);
        const events = asked.flatMap(({{ body }}) => JSON.parse(body).events);
        return events.map(({{ type, product, token }}) => [type, product, token]);
    """)
    assert sorted(events) == [["impression", "seen", "newer"], ["impression", "twice", "of twice"]]


def made_up(chance: random.Random, frame: int) -> dict[str, Any]:
    """A board with any of twelve products in any order, each with some fields."""
    products = chance.sample("abcdefghijkl", chance.randint(0, 12))
    some: dict[str, list[Any]] = {
        "title": ["A", "B"],
        "price": [0, 5, 7],
        "badges": [[], ["hot"], ["hot", "new"]],
        "stock": [0, 3],
    }
    slots = [
        {"slot": slot, "product": product}
        | {name: chance.choice(values) for name, values in some.items() if chance.random() < 0.6}
        for slot, product in enumerate(products, 1)
    ]
    return {"epoch": 7, "frame": frame, "phase": chance.choice(["", "burst"]), "slots": slots}


def test_changes_make_the_same_board_in_every_client(play: Any) -> None:
    """A thousand of them: the module's, the Python client's, and the one that was meant."""
    chance = random.Random(1)
    boards = [made_up(chance, frame) for frame in range(1001)]
    told = [changes(old, new) for old, new in pairwise(boards)]
    assert [applied(cast("Board", old), each) for old, each in zip(boards, told, strict=False)] == boards[1:]
    made = play(f"""
        const [boards, told] = [{json.dumps(boards)}, {json.dumps(told)}];
        return told.map((changes, at) => client.applied(boards[at], changes));
    """)
    assert made == boards[1:]
