#!/usr/bin/env python3
"""Fills a store with many webhooks, and measures how long lists, views of the page and searches take. Needs Python 3.9 and Linux, and for
PostgreSQL psql.

    bench/search.py target/release/hookbox
    bench/search.py target/release/hookbox --webhooks 1000000 --bodies 100000
    bench/search.py target/release/hookbox --store postgres

hookbox creates the tables. The webhooks are written into them directly, because accepting so many takes too long: all
completed, but for one dead letter in 10,000, and 100 that are pending. The newest of them, as many as `--bodies` says,
have a payload of `--bytes` bytes; the others are past its retention. Then hookbox serves again, without running jobs.

Each list and each view of the page is asked for several times. Prints p50, p95 and the longest, and how many webhooks
a list has. Each search in bodies is asked for page after page until it ends. Prints how many requests that
took, the longest of them, and how many bodies were looked at in a second. At the end webhooks are sent one after the
other, without and beside a search; prints the p99 of accepting of both.

Exit code 1 if a goal is missed: p95 of each list and view under 50 ms on SQLite and 100 ms on PostgreSQL, none over 200 ms,
and each request of a search under 500 ms.
"""

import argparse, http.client, json, signal, sqlite3, sys, threading, time, urllib.parse, uuid

from processes import HOST, Hookbox, create_database, drop_database, percentile, psql

PORT, SERVER, DATABASE = 18980, "postgres://postgres@127.0.0.1:5432", "hookbox_search"
LIST_P95_MS = {"sqlite": 50, "postgres": 100}
LIST_MOST_MS, SEARCH_MOST_MS = 200, 500
DEAD_EVERY, PENDING = 10_000, 100
BATCH = 50_000
SETTINGS = """
[[routes]]
name = "default"
handler = "pull"
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--server", default=SERVER, help="the PostgreSQL server")
    parser.add_argument("--webhooks", type=int, default=5_000_000)
    parser.add_argument("--bodies", type=int, default=1_000_000, help="webhooks that still have their payload")
    parser.add_argument("--bytes", type=int, default=512, help="of a payload")
    parser.add_argument("--rounds", type=int, default=40, help="requests for each list")
    options = parser.parse_args()
    options.bodies = min(options.bodies, options.webhooks)
    # The webhooks are a millisecond apart, the newest an hour old.
    options.begin_ms = int(time.time() * 1000) - 3_600_000 - options.webhooks
    return options


class Webhook:
    """What is stored of the webhook with a number, counted from 1 for the oldest."""

    def __init__(self, number, options):
        self.ms = options.begin_ms + number
        self.sequence = self.ms << 12
        self.id = f"{self.ms:012x}7000{0x8000_0000_0000_0000 + number:016x}"
        self.key, self.trace = f"evt-{number}", f"{number:032x}"
        self.is_dead = number % DEAD_EVERY == 0
        self.is_pending = number > options.webhooks - PENDING
        self.status = 0 if self.is_pending else 4 if self.is_dead else 3
        self.payload = None
        if number > options.webhooks - options.bodies:
            order = {"order": {"id": f"A-{number}", "total": number % 1000}, "text": ""}
            order["text"] = "x" * max(0, options.bytes - len(json.dumps(order)))
            self.payload = json.dumps(order).encode()


def numbers(options):
    for begin in range(1, options.webhooks + 1, BATCH):
        print(f"\r{begin} of {options.webhooks} webhooks", end="", file=sys.stderr, flush=True)
        yield [Webhook(number, options) for number in range(begin, min(begin + BATCH, options.webhooks + 1))]
    print(file=sys.stderr)


def fill_sqlite(path, options):
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("PRAGMA synchronous = OFF")
    file.execute("PRAGMA cache_size = -262144")
    file.execute("INSERT INTO queues (id, route, source) VALUES (1, 'default', 'default')")
    for batch in numbers(options):
        file.execute("BEGIN")
        file.executemany(
            """INSERT INTO webhooks (sequence, id, source, idempotency_key, event_type, content_type, verdict, payload,
                                     payload_digest, traceparent, accepted_at)
               VALUES (?, ?, 'default', ?, 'order.created', 'application/json', 0, ?, zeroblob(16), ?, ?)""",
            ((w.sequence, bytes.fromhex(w.id), w.key, w.payload, f"00-{w.trace}-00f067aa0ba902b7-01", w.ms)
             for w in batch))
        file.executemany("INSERT INTO idempotency_keys (name, webhook) VALUES (?, ?)",
                         ((b"default\0\0" + w.key.encode(), w.sequence) for w in batch))
        file.executemany(
            """INSERT INTO jobs (webhook, queue, status, attempts, uncounted_attempts, run, available_at, updated_at,
                                 completed_at, revision, lease_token, purged)
               VALUES (?, 1, ?, ?, 0, 1, ?, ?, ?, 1, 1, ?)""",
            ((w.sequence, w.status, int(not w.is_pending), w.ms, w.ms, None if w.is_pending else w.ms,
              int(w.payload is None)) for w in batch))
        file.executemany(
            """INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, error, worker)
               VALUES (?, 1, 1, 1, ?, ?, ?, ?, 'bench')""",
            ((w.sequence, int(w.is_dead), w.ms, w.ms, f"status 500 from {w.key}" if w.is_dead else None)
             for w in batch if not w.is_pending))
        file.execute("COMMIT")
    file.execute("INSERT INTO status_counts (queue, status, count) SELECT queue, status, count(*) FROM jobs GROUP BY 1, 2")
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()


def fill_postgres(options):
    """One statement for each batch: the database makes the rows."""
    psql(options.server, DATABASE, "INSERT INTO queues (id, route, source) VALUES (1, 'default', 'default')")
    first_body, first_pending = options.webhooks - options.bodies, options.webhooks - PENDING
    fixed = len(json.dumps({"order": {"id": f"A-{options.webhooks}", "total": 100}, "text": ""}))
    for begin in range(1, options.webhooks + 1, BATCH):
        end = min(begin + BATCH - 1, options.webhooks)
        print(f"\r{begin} of {options.webhooks} webhooks", end="", file=sys.stderr, flush=True)
        psql(options.server, DATABASE, f"""
            CREATE TEMP TABLE made AS
            SELECT n, (lpad(to_hex({options.begin_ms} + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid AS id,
                   to_timestamp(({options.begin_ms} + n) / 1000.0) AS at
            FROM generate_series({begin}, {end}) AS n;
            INSERT INTO webhooks (id, source, idempotency_key, event_type, content_type, verdict, payload, payload_digest,
                                  traceparent, accepted_at)
            SELECT id, 'default', 'evt-' || n, 'order.created', 'application/json', 0,
                   CASE WHEN n > {first_body} THEN convert_to(format(
                       '{{"order": {{"id": "A-%s", "total": %s}}, "text": "%s"}}', n, n % 1000,
                       repeat('x', {max(0, options.bytes - fixed)})), 'UTF8') END,
                   '\\x00000000000000000000000000000000'::bytea,
                   '00-' || lpad(to_hex(n), 32, '0') || '-00f067aa0ba902b7-01', at
            FROM made ORDER BY n;
            INSERT INTO finished_jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at,
                                       completed_at, revision, lease_token, purged, outcome, started_at, error, worker)
            SELECT id, 1, CASE WHEN n % {DEAD_EVERY} = 0 THEN 4 ELSE 3 END, 1, 1, 0, at, at, 1, 1,
                   CASE WHEN n > {first_body} THEN 0 ELSE 1 END, (n % {DEAD_EVERY} = 0)::int, at,
                   CASE WHEN n % {DEAD_EVERY} = 0 THEN 'status 500 from evt-' || n END, 'bench'
            FROM made WHERE n <= {first_pending} ORDER BY n;
            INSERT INTO jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at, updated_at,
                              revision, lease_token)
            SELECT id, 1, 0, 1, 0, 0, at, at, 0, 0 FROM made WHERE n > {first_pending}""")
    print(file=sys.stderr)
    psql(options.server, DATABASE, f"""
        INSERT INTO status_counts (slot, queue, pending, completed, dead_lettered)
        SELECT 0, 1, (SELECT count(*) FROM jobs), count(*) FILTER (WHERE status = 3), count(*) FILTER (WHERE status = 4)
        FROM finished_jobs""")
    psql(options.server, DATABASE, "SELECT setval(pg_get_serial_sequence('queues', 'id'), 1)")
    psql(options.server, DATABASE, "VACUUM (ANALYZE)")


class Client:
    """A connection, and how long its last answer took."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection(HOST, port, timeout=30)

    def get(self, path):
        began = time.monotonic()
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        self.ms = (time.monotonic() - began) * 1000
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {body.decode()}")
        return body

    def page(self, **query):
        return json.loads(self.get("/v1/webhooks?" + urllib.parse.urlencode(query)))

    def submit(self, key):
        body = json.dumps({"idempotency_key": key, "event_type": "order.created", "payload": {"n": 1}})
        began = time.monotonic()
        self.connection.request("POST", "/v1/webhooks", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 202:
            sys.exit(f"a webhook was refused: {answer.status} {text.decode()}")
        return (time.monotonic() - began) * 1000


def measure_lists(client, options):
    """Returns whether all goals are met."""
    middle = options.webhooks // 2
    time_of = lambda number: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((options.begin_ms + number) / 1000))
    dead = middle // DEAD_EVERY * DEAD_EVERY
    lists = {
        "everything": {},
        "far back": {"accepted_before": time_of(options.webhooks // 10)},
        "a route": {"route": "default"},
        "pending": {"status": "pending"},
        "processing": {"status": "processing"},
        "dead letters": {"status": "dead_lettered"},
        "dead letters, 500 on a page": {"status": "dead_lettered", "page_size": 500},
        "completed, 500 on a page": {"status": "completed", "page_size": 500},
        "an error": {"error_contains": f"from evt-{dead}"},
        "a key": {"idempotency_key": f"evt-{middle}", "source": "default"},
        "a key of any source": {"idempotency_key": f"evt-{middle}"},
        "a trace": {"trace_id": f"{middle:032x}"},
        "an event type that is not there": {"event_type": "no.such"},
        "a source that is not there": {"source": "unknown"},
        "unverified": {"verdict": "unverified"},
        "cancelled or retrying": {"status": "cancelled,retrying"},
    }
    is_met = True
    for name, query in lists.items():
        took, pages = [], []
        for _ in range(options.rounds):
            pages.append(client.page(**query))
            took.append(client.ms)
        page = pages[-1]
        more = f", searched to {page['searched_to']}" if page["searched_to"] else ", all"
        is_met &= print_times(name, took, f"{len(page['webhooks']):3} webhooks{more}", options)
    return is_met


def print_times(name, took, what, options):
    """Returns whether the goal is met."""
    p95, most = percentile(took, 0.95), max(took)
    met = most <= LIST_MOST_MS and p95 <= LIST_P95_MS[options.store]
    print(f"{name:32} p50 {percentile(took, 0.5):6.1f} ms   p95 {p95:6.1f} ms   longest {most:6.1f} ms   "
          f"{what}{'' if met else '   MISSED'}", flush=True)
    return met


def measure_views(client, options):
    """Returns whether all goals are met."""
    middle = options.webhooks // 2
    newest, dead = options.webhooks, options.webhooks // DEAD_EVERY * DEAD_EVERY
    id_of = lambda number: str(uuid.UUID(Webhook(number, options).id))
    views = [
        "/overview", "/webhooks", "/webhooks?status=completed", "/webhooks?status=dead_lettered",
        "/webhooks?route=default&status=pending", "/webhooks?event_type=no.such", "/webhooks?body_contains=no+such+text",
        f"/webhooks?idempotency_key=evt-{middle}", f"/webhooks/{id_of(middle)}", f"/webhooks/{id_of(dead)}",
        f"/webhooks/{id_of(newest)}", "/dead-letters", "/dead-letters?route=default", "/routes", "/routes/default",
        "/sources", "/sources/default", "/replays", "/actions", "/settings",
    ]
    is_met = True
    for path in views:
        took, body = [], b""
        for _ in range(options.rounds):
            body = client.get(path)
            took.append(client.ms)
        is_met &= print_times(path.replace(id_of(middle), "{purged}").replace(id_of(dead), "{dead letter}")
                              .replace(id_of(newest), "{pending}"), took, f"{len(body) / 1024:.0f} KiB", options)
    return is_met


def search(client, options, name, expected, query):
    """Looks for all that a search finds. Returns whether the goal is met."""
    took, found, token = [], 0, ""
    began = time.monotonic()
    while True:
        page = client.page(**query, page_token=token)
        took.append(client.ms)
        found += len(page["webhooks"])
        token = page["next_page_token"]
        if not token:
            break
        if not page["searched_to"]:
            sys.exit("a page does not say how far it has looked")
    seconds = time.monotonic() - began
    if found != expected:
        sys.exit(f"{name}: {found} webhooks were found, and {expected} were expected")
    met = max(took) <= SEARCH_MOST_MS
    print(f"{name:32} {len(took):5} requests, p50 {percentile(took, 0.5):6.1f} ms, longest {max(took):6.1f} ms; "
          f"{options.webhooks / seconds:9.0f} webhooks a second, {options.bodies / seconds:9.0f} bodies"
          f"{'' if met else '   MISSED'}", flush=True)
    return met


def measure_searches(client, options):
    # The newest one that is not pending is completed.
    newest, oldest = options.webhooks - PENDING, options.webhooks - options.bodies + 1
    searches = [
        ("a value, in the newest bodies", 1, {"body_pointer": "/order/id", "body_equals": f"A-{newest}"}),
        ("a value, in the oldest bodies", 1, {"body_pointer": "/order/id", "body_equals": f"A-{oldest}"}),
        ("a value that is not there", 0, {"body_pointer": "/order/total", "body_equals": "1000.5"}),
        ("a text that is not there", 0, {"body_contains": "no such text"}),
    ]
    return all([search(client, options, name, expected, {**query, "page_size": 500})
                for name, expected, query in searches])


def accepting(seconds, key):
    client, until, took = Client(PORT), time.monotonic() + seconds, []
    while time.monotonic() < until:
        took.append(client.submit(f"{key}-{len(took)}"))
    return percentile(took, 0.99), len(took) / seconds


def measure_accepting():
    alone = accepting(5, "alone")
    stopping = threading.Event()

    def searching():
        client = Client(PORT)
        while not stopping.is_set():
            client.page(body_contains="no such text")

    thread = threading.Thread(target=searching)
    thread.start()
    beside = accepting(5, "beside")
    stopping.set()
    thread.join()
    print(f"accepting: p99 {alone[0]:.1f} ms ({alone[1]:.0f} /s) alone, "
          f"{beside[0]:.1f} ms ({beside[1]:.0f} /s) beside a search")


def main():
    options = arguments()
    url = create_database(options.server, DATABASE) if options.store == "postgres" else None
    # Retention that is over would remove webhooks meanwhile.
    keep = {"retention_completed": "365d", "retention_dead_lettered": "365d", "retention_keys": "365d"}
    with Hookbox(options.program, url, SETTINGS, PORT, **keep) as hookbox:
        hookbox.process.send_signal(signal.SIGTERM)
        hookbox.process.wait(60)
        if url:
            fill_postgres(options)
        else:
            fill_sqlite(f"{hookbox.folder}/hookbox.db", options)
        hookbox.start()
        client = Client(PORT)
        is_met = measure_lists(client, options)
        is_met &= measure_views(client, options)
        is_met &= measure_searches(client, options)
        measure_accepting()
    if url:
        drop_database(options.server, DATABASE)
    print("all goals are met" if is_met else "a goal is MISSED")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
