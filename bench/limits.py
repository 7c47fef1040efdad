#!/usr/bin/env python3
"""Checks on running processes that threads are shared fairly between routes, and that `concurrency` and `order_by`
hold. Needs Python 3.9; `fair`, `idle` and `paused` also need wrk; `concurrency`, `order` and `--store postgres` need psql and
a PostgreSQL.

    bench/limits.py HOOKBOX fair [--store postgres] [--jobs 1000000]
    bench/limits.py HOOKBOX concurrency
    bench/limits.py HOOKBOX order
    bench/limits.py HOOKBOX idle [--store postgres] [--jobs 1000000]
    bench/limits.py HOOKBOX paused [--store postgres] [--jobs 1000000]

fair         One route has many due jobs of 1 to 5 s on 128 threads; another route gets one webhook per second. Prints
             how long after its acceptance each of these starts.
concurrency  Three replicas run a route with `concurrency = 16`, and one replica is killed. Prints the largest and the
             average number of running jobs.
order        Sends 100 webhooks for each of 200 order values to three replicas, with failures, two kills and a freeze.
             Prints how many attempts overlap or start out of order.
idle         Prints how much of a core a process uses while a paused route has many due jobs.
paused       Prints how fast the due jobs of a free route complete: on a store without other jobs, beside a paused route
             with many due jobs, and once these have completed, so that the store is as large as before.
"""

import argparse, http.client, json, os, random, signal, statistics, subprocess, sys, tempfile, threading, time
import urllib.request

SERVER = "postgres://postgres@127.0.0.1:5432"
DATABASE = "hookbox_limits"
TICKS = os.sysconf("SC_CLK_TCK")


def psql(sql, database=DATABASE):
    environment = {**os.environ, "PGOPTIONS": "-csearch_path=hookbox"}
    return subprocess.run(["psql", "-qtA", "-d", f"{SERVER}/{database}", "-c", sql], check=True, env=environment,
                          capture_output=True, text=True).stdout.strip()


class Replica:
    def __init__(self, options, settings, number=0, lease="30s", workers=128):
        self.port = 18080 + number
        self.folder = tempfile.mkdtemp(prefix="hookbox-limits-")
        with open(f"{self.folder}/hookbox.toml", "w") as file:
            file.write(settings)
        is_sqlite = options.store == "sqlite"
        url = f"sqlite://{self.folder}/hookbox.db" if is_sqlite else f"{SERVER}/{DATABASE}?sslmode=disable"
        self.command = [options.program, "serve", "--database-url", url, "--http-addr", f"127.0.0.1:{self.port}",
                        "--grpc-addr", f"127.0.0.1:{15051 + number}", "--max-backlog", "100000000", "--lease", lease,
                        "--workers", str(workers), "--shutdown-grace", "0s", "--log", "error"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, cwd=self.folder, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("not ready within 30 s")

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                         data=json.dumps(body).encode() if body else None,
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def send(ports, webhooks, threads=64):
    """Sends webhooks on many threads, each to the first port that accepts it."""
    webhooks, lock = iter(webhooks), threading.Lock()
    def run(number):
        connections = {}
        while True:
            with lock:
                webhook = next(webhooks, None)
            if webhook is None:
                return
            deadline, turn = time.monotonic() + 120, number
            while True:
                port = ports[turn % len(ports)]
                try:
                    connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=10))
                    connection.request("POST", "/v1/webhooks", json.dumps(webhook), {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status in (200, 202):
                        break
                    if answer.status < 500:
                        raise RuntimeError(f"refused: {answer.status}")
                except (OSError, http.client.HTTPException):
                    connections.pop(port, None)
                if time.monotonic() > deadline:
                    raise RuntimeError("no replica has accepted a webhook for 120 s")
                turn += 1
                time.sleep(0.02)
    runners = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    [runner.start() for runner in runners]
    [runner.join() for runner in runners]


def webhook(idempotency_key, event_type, **payload):
    return {"idempotency_key": idempotency_key, "event_type": event_type, "payload": payload or {"n": 1}}


def fill(options, replica, event_type, jobs):
    """Makes due jobs with wrk, which is faster than Python, and returns how many there are."""
    script = os.path.join(replica.folder, "fill.lua")
    with open(script, "w") as file:
        file.write("local counter = 0\nfunction request() counter = counter + 1\n"
                   "return wrk.format('POST', '/v1/webhooks', {['Content-Type'] = 'application/json'},\n"
                   f"string.format('{{\"idempotency_key\":\"%d-%d\",\"event_type\":\"{event_type}\",\"payload\":{{\"n\":1}}}}', "
                   "os.time(), counter)) end\n")
    while True:
        have = unfinished(replica, event_type)
        if have >= jobs:
            return have
        subprocess.run(["wrk", "-t1", "-c64", "-d4s", "-s", script, f"http://127.0.0.1:{replica.port}"],
                       check=True, capture_output=True)


def unfinished(replica, route):
    """Jobs of a route that are not finished."""
    counts = {route["route"]: route["counts"] for route in replica.ask("GET", "/v1/routes")["routes"]}
    return sum(int(counts[route].get(status, 0)) for status in ("pending", "processing", "retrying"))


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def seconds(text):
    import datetime
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def fair(options):
    replica = Replica(options, """
        [[routes]]
        name = "busy"
        match = { event_type = "busy" }
        simulate = { min = "1s", max = "5s" }
        [[routes]]
        name = "other"
        match = { event_type = "other" }
        simulate = { min = "0s", max = "10ms" }
    """)
    print("due jobs of the busy route:", fill(options, replica, "busy", options.jobs))
    ids = []
    for number in range(options.webhooks):
        ids.append(replica.ask("POST", "/v1/webhooks", webhook(f"other-{number}", "other"))["id"])
        time.sleep(1)
    time.sleep(3)
    waits = []
    for id in ids:
        shown = replica.ask("GET", f"/v1/webhooks/{id}")
        waits.append((seconds(shown["attempts"][0]["started_at"]) - seconds(shown["accepted_at"])) * 1e3)
    replica.stop()
    print(f"{options.store}: {len(waits)} webhooks, ms from acceptance to start: median {statistics.median(waits):.0f},",
          f"p95 {percentile(waits, 0.95):.0f}, p99 {percentile(waits, 0.99):.0f}, max {max(waits):.0f}")


def concurrency(options):
    settings = """
        [[routes]]
        name = "limited"
        concurrency = 16
        simulate = { min = "50ms", max = "150ms" }
    """
    replicas = [Replica(options, settings, number, lease="3s", workers=32) for number in range(3)]
    send([replica.port for replica in replicas], (webhook(str(number), "x") for number in range(options.webhooks * 100)))
    began = float(psql("SELECT extract(epoch FROM now())"))
    time.sleep(8)
    killed = float(psql("SELECT extract(epoch FROM now())"))
    replicas[0].kill()
    time.sleep(12)
    ended = float(psql("SELECT extract(epoch FROM now())"))
    waiting = int(psql("SELECT count(*) FROM jobs WHERE status = 0"))
    [replica.stop() for replica in replicas[1:]]
    if waiting == 0:
        sys.exit("no jobs were left at the end; raise --webhooks")
    # The start and end of each attempt. Attempts of the killed process are recorded as ended when their jobs were
    # taken over.
    rows = psql("""SELECT extract(epoch FROM started_at), extract(epoch FROM finished_at), outcome FROM (
        SELECT started_at, finished_at, outcome FROM attempts
        UNION ALL SELECT started_at, completed_at, outcome FROM finished_jobs) AS a""")
    runs = [tuple(float(field) for field in row.split("|")) for row in rows.splitlines()]
    events = []
    for start, end, outcome in runs:
        # An interrupted attempt ended in fact when its process was killed.
        end = min(end, killed) if outcome == 2 and start < killed else end
        events += [(start, 1), (end, -1)]
    events.sort()
    running, most, area, last = 0, 0, {"before": 0.0, "after": 0.0}, began
    for time_of, change in events:
        upto = min(max(time_of, began), ended)
        for name, low, high in [("before", began, killed), ("after", killed + 5, ended)]:
            area[name] += running * max(0, min(upto, high) - max(last, low))
        last = max(last, upto)
        running += change
        if time_of > began:
            most = max(most, running)
    print(f"three replicas, concurrency 16: {len(runs)} attempts, at most {most} at once,",
          f"{area['before'] / (killed - began):.2f} on average, and {area['after'] / (ended - killed - 5):.2f}",
          "once the jobs of a killed replica were taken over")


def order(options):
    settings = """
        [[routes]]
        name = "ordered"
        order_by = "/key"
        retry = { attempts = 3, base = "20ms", cap = "200ms" }
        simulate = { min = "0s", max = "10ms", failure_rate = 0.25 }
    """
    replicas = [Replica(options, settings, number, lease="2s", workers=64) for number in range(3)]
    keys, of_each = 200, 100
    # The webhooks of a key are sent one after the other, so that they are accepted in the order of their numbers.
    def sender(numbers):
        for number in range(of_each):
            for key in numbers:
                send([random.choice(replicas).port for _ in range(6)],
                     [webhook(f"{key}-{number}", "x", key=f"k{key}", number=number)], threads=1)
    senders = [threading.Thread(target=sender, args=(range(at, keys, 20),)) for at in range(20)]
    [thread.start() for thread in senders]
    for step in ("kill", "freeze", "kill"):
        time.sleep(6)
        replica = replicas[("kill", "freeze").index(step)]
        if step == "kill":
            replica.kill()
            time.sleep(3)
            replica.start()
        else:
            replica.process.send_signal(signal.SIGSTOP)
            time.sleep(6)
            replica.process.send_signal(signal.SIGCONT)
    [thread.join() for thread in senders]
    retried, deadline = 0, time.monotonic() + 300
    while int(psql("SELECT count(*) FROM jobs")) or int(psql("SELECT count(*) FROM finished_jobs WHERE status = 4")):
        if time.monotonic() > deadline:
            sys.exit("jobs are unfinished after 300 s: " + psql("SELECT status, count(*) FROM job_statuses GROUP BY status"))
        # A dead letter blocks the jobs behind it until it is retried.
        for row in psql("SELECT webhook FROM finished_jobs WHERE status = 4 AND blocks").splitlines():
            replicas[2].ask("POST", f"/v1/webhooks/{row}/retry")
            retried += 1
        time.sleep(0.2)
    [replica.stop() for replica in replicas]
    rows = psql("""SELECT convert_from(w.payload, 'UTF8'), extract(epoch FROM a.started_at), extract(epoch FROM a.finished_at), a.outcome FROM (
        SELECT webhook, started_at, finished_at, outcome FROM attempts
        UNION ALL SELECT webhook, started_at, completed_at, outcome FROM finished_jobs) AS a
        JOIN webhooks w ON w.id = a.webhook ORDER BY a.started_at, a.finished_at""")
    of_key, overlaps, disorders = {}, 0, 0
    for row in rows.splitlines():
        payload, started, finished, outcome = row.rsplit("|", 3)
        payload = json.loads(payload)
        runs = of_key.setdefault(payload["key"], [])
        if runs:
            number, end, was = runs[-1]
            overlaps += float(started) < end - 0.0005
            disorders += payload["number"] not in (number, number + 1)
            disorders += payload["number"] == number + 1 and was != 0
        runs.append((payload["number"], float(finished), int(outcome)))
    attempts = sum(map(len, of_key.values()))
    complete = all(runs[-1][0] == of_each - 1 and runs[-1][2] == 0 for runs in of_key.values())
    print(f"{len(of_key)} keys, {attempts} attempts, {retried} dead letters retried: {overlaps} overlaps,",
          f"{disorders} starts out of order,", "everything completed" if complete else "NOT everything completed")


TWO_ROUTES = """
    [[routes]]
    name = "busy"
    match = { event_type = "busy" }
    simulate = { min = "0s", max = "0s" }
    [[routes]]
    name = "other"
    match = { event_type = "other" }
    simulate = { min = "0s", max = "0s" }
"""


def idle(options):
    replica = Replica(options, TWO_ROUTES)
    replica.ask("POST", "/v1/pause?route=busy")
    have = fill(options, replica, "busy", options.jobs)
    time.sleep(10)
    def used():
        with open(f"/proc/{replica.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    before = used()
    time.sleep(60)
    print(f"{options.store}: {(used() - before) / 60:.2%} of a core with {have} due jobs of a paused route")
    replica.stop()


def paused(options):
    replica = Replica(options, TWO_ROUTES)
    replica.ask("POST", "/v1/pause?route=busy")
    def rate():
        """Jobs of the free route completed per second."""
        replica.ask("POST", "/v1/pause?route=other")
        jobs = fill(options, replica, "other", 30_000)
        began = time.monotonic()
        complete("other")
        return jobs / (time.monotonic() - began)
    def complete(route):
        deadline = time.monotonic() + 1_200
        replica.ask("POST", f"/v1/resume?route={route}")
        while unfinished(replica, route):
            if time.monotonic() > deadline:
                sys.exit("not completed within 20 minutes")
            time.sleep(0.02)
    rate()
    alone = [rate() for _ in range(5)]
    have = fill(options, replica, "busy", options.jobs)
    time.sleep(10)
    beside = [rate() for _ in range(5)]
    complete("busy")
    time.sleep(10)
    after = [rate() for _ in range(5)]
    replica.stop()
    text = lambda rates: f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
    ratio = statistics.median(beside) / statistics.median(after)
    print(f"{options.store}: jobs of a free route completed a second: {text(alone)} alone, {text(beside)} beside {have}",
          f"due jobs of a paused route, {text(after)} once these have completed: {ratio:.2f} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("check", choices=["fair", "concurrency", "order", "idle", "paused"])
    parser.add_argument("--store", choices=["sqlite", "postgres"], default=None)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--webhooks", type=int, default=120)
    options = parser.parse_args()
    options.store = options.store or ("postgres" if options.check in ("concurrency", "order") else "sqlite")
    if options.store == "postgres":
        psql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", "postgres")
        psql(f"CREATE DATABASE {DATABASE}", "postgres")
    globals()[options.check](options)


main()
