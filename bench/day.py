#!/usr/bin/env python3
"""A day in the life of three replicas on PostgreSQL, in two minutes: one is killed and started again, another one is
frozen for longer than a lease. Then compares what hookbox has recorded with the logs of the targets. Needs Python 3.9,
Linux, psql and a PostgreSQL.

    bench/day.py target/release/hookbox
    bench/day.py target/release/hookbox --seconds 30 --rate 50

Each webhook matches two of these routes:

http      A server that answers one request in 30 with 500, closes the connection of one in 100, and answers every one
          with 503 for 3 s. Ordered by customer.
exec      A shell script that appends a line to a log, and fails at the first attempt for one webhook in 10.
pull      A worker in Python, in a process of its own, over REST. One attempt in 30 fails.
simulate  Sleeps for 5 to 50 ms. One attempt in 30 fails. It has no log: only what hookbox recorded is checked.

One webhook in 97 is refused for good by the first three. The sender repeats a webhook under the same key, at any replica,
until it is accepted.

Exit code 1 if a job of an accepted webhook has not ended, or more than once; if a completed one is not in the log of its
target, or a dead letter has no reason; if a target ran for an attempt that is not recorded, or whose record says
otherwise; or if a customer's webhooks started out of order. An attempt that ran to its end at the target and is recorded as
interrupted or failed is counted as repeated: `on_interrupt = "retry"` allows that.
"""

import argparse, collections, http.client, http.server, json, random, shutil, signal, sys, tempfile, threading, time

from processes import HOST, WORK_SERVICE, Hookbox, child, children, create_database, drop_database, percentile, psql

PORTS, TARGET, DATABASE = [18580, 18582, 18584], 18588, "hookbox_day"
LEASE_SECONDS, FROZEN_SECONDS, DOWN_SECONDS, OUTAGE_SECONDS = 5, 12, 10, 3
# Customers are shared between the threads of the sender, so that those of a customer are sent one after the other.
SENDERS, CUSTOMERS = 20, 60
PAIRS = [("http", "exec"), ("pull", "simulate"), ("http", "pull"), ("exec", "simulate")]
ROUTES = ["http", "exec", "pull", "simulate"]
COMPLETED, DEAD_LETTERED = 3, 4
OUTCOMES = ["completed", "failed", "interrupted"]

SETTINGS = """
[[routes]]
name = "http"
match = {{ event_type = "*http*" }}
handler = "http"
url = "http://{host}:{target}/hooks"
allow = ["{host}"]
timeout = "3s"
order_by = "/customer"
on_dead_letter = "skip"
breaker = {{ failures = 10, base = "500ms", cap = "2s" }}

[[routes]]
name = "exec"
match = {{ event_type = "*exec*" }}
handler = "exec"
command = ["/bin/sh", "{folder}/append.sh", "{folder}/exec.log"]
concurrency = 32

[[routes]]
name = "pull"
match = {{ event_type = "*pull*" }}
handler = "pull"

[[routes]]
name = "simulate"
match = {{ event_type = "*simulate*" }}
simulate = {{ min = "5ms", max = "50ms", failure_rate = 0.033 }}
"""

# One line in one write. It sleeps between the effect and its end, so that a kill finds runs whose effect is there.
SCRIPT = """
code=0
case $HOOKBOX_KEY:$HOOKBOX_ATTEMPT in
    *-bad:*) code=65 ;;
    *7:1) code=1 ;;
esac
echo "$HOOKBOX_DELIVERY $HOOKBOX_ATTEMPT $code" >>"$1"
sleep 0.1
[ $code = 0 ] || echo "the script fails with $code" >&2
exit $code
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432", help="PostgreSQL server on which a database is created")
    parser.add_argument("--seconds", type=int, default=120, help="how long webhooks are sent, at least 30")
    parser.add_argument("--rate", type=int, default=200, help="webhooks a second")
    parser.add_argument("--keep", action="store_true", help="keep the database, and the folder with the logs")
    options = parser.parse_args()
    if options.seconds < 30:
        parser.error("--seconds: at least 30, for the kill, the freeze and the outage")
    return options


class Replicas:
    """Chooses the replica for a request. One that has failed is left out for a second."""

    def __init__(self):
        self.failed_at = dict.fromkeys(PORTS, -1.0)

    def ask(self, connections, path, body, timeout):
        """Sends a request to some replica. The status and the document of the answer; None if there was no answer."""
        now = time.monotonic()
        port = random.choice([port for port in PORTS if now - self.failed_at[port] > 1] or PORTS)
        try:
            connection = connections.setdefault(port, http.client.HTTPConnection(HOST, port, timeout=timeout))
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.load(answer)
        except (OSError, ValueError, http.client.HTTPException):
            connections.pop(port).close()
            self.failed_at[port] = time.monotonic()
            return None


# The targets. Each line of a log has a delivery, the number of the attempt, and how it ended.

def http_target(log, listens, is_out):
    lock, file = threading.Lock(), open(log, "a", buffering=1)

    class Target(http.server.BaseHTTPRequestHandler):
        protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

        def do_POST(self):
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chance = random.random()
            status = (503 if is_out.is_set() else 422 if payload["bad"] else
                      500 if chance < 1 / 30 else 0 if chance < 1 / 30 + 1 / 100 else 200)
            with lock:
                print(self.headers["webhook-id"], self.headers["Hookbox-Attempt"], status, file=file)
            time.sleep(0.01)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size, daemon_threads = 1024, True

    with Server((HOST, TARGET), Target) as server:
        listens.set()
        server.serve_forever()


def worker(log):
    """A worker of `pull` that asks any replica, and repeats its reports until one answers."""
    replicas, connections, file = Replicas(), {}, open(log, "a", buffering=1)
    wanted = json.dumps({"routes": ["pull"], "worker": "day", "max_jobs": 20, "wait": "2s", "lease": f"{LEASE_SECONDS}s"})

    def run(job):
        if job["payload"]["bad"]:
            return "permanent", {"failed": {"error": "the worker refuses it", "permanent": True}}
        if random.random() < 1 / 30:
            return "failed", {"failed": {"error": "the worker fails now and then"}}
        return "completed", {"completed": {"result": {"number": job["payload"]["number"]}}}

    while True:
        answer = replicas.ask(connections, f"{WORK_SERVICE}/lease", wanted, timeout=5)
        if answer is None or answer[0] != 200:
            time.sleep(0.1)
            continue
        outcomes = []
        for job in answer[1]["jobs"]:
            ended, outcome = run(job)
            print(job["delivery_id"], job["attempt"], ended, file=file)
            outcomes.append({"lease": job["lease"], **outcome})
        report = json.dumps({"worker": "day", "outcomes": outcomes})
        while outcomes and ((answer := replicas.ask(connections, f"{WORK_SERVICE}/finish", report, timeout=3)) is None or answer[0] != 200):
            if answer and answer[0] < 500:
                raise RuntimeError(f"a report was answered {answer}")
            time.sleep(0.1)


# The sender.

def webhook(number):
    """The key, the routes and the payload of a webhook."""
    bad = number % 97 == 13
    # Numbers of a customer take the pairs in turn.
    routes = PAIRS[(number + number // CUSTOMERS) % len(PAIRS)]
    return f"day-{number}{'-bad' if bad else ''}", routes, {"number": number, "customer": number % CUSTOMERS, "bad": bad}


class Day:
    """Sends all webhooks, and keeps the results."""

    def __init__(self, options):
        self.options, self.replicas = options, Replicas()
        self.ids, self.took, self.counts = {}, [], collections.Counter()
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self.send, args=(at,), daemon=True) for at in range(SENDERS)]
        [thread.start() for thread in self.threads]

    def send(self, first):
        connections = {}
        for number in range(first, self.options.seconds * self.options.rate, SENDERS):
            time.sleep(max(0.0, self.began + number / self.options.rate - time.monotonic()))
            began = time.monotonic()
            key, routes, payload = webhook(number)
            body = json.dumps({"idempotency_key": key, "event_type": "-".join(routes), "payload": payload})
            while number not in self.ids:
                answer = self.replicas.ask(connections, "/v1/webhooks", body, timeout=3)
                status = answer[0] if answer else "no answer"
                self.counts[status] += 1
                if status in (200, 202):
                    self.ids[number] = answer[1]["id"]
                elif answer and status < 500:
                    print(f"a webhook was answered {answer}", flush=True)
                    return
                elif time.monotonic() - began > 60:
                    print(f"no replica has accepted a webhook for 60 s; the last one: {answer}", flush=True)
                    return
                else:
                    time.sleep(0.05)
            self.took.append(time.monotonic() - began)

    def at(self, seconds, what, act):
        """Does something at a time of the day."""
        time.sleep(max(0.0, self.began + seconds - time.monotonic()))
        act()
        print(f"{time.monotonic() - self.began:6.1f} s  {what}", flush=True)

    def faults(self, replicas, is_out):
        killed, frozen, seconds = replicas[0], replicas[1], self.options.seconds
        freeze_at = max(seconds * 0.6, seconds * 0.35 + DOWN_SECONDS + 2)
        self.at(seconds * 0.2, "the target of http answers 503", is_out.set)
        self.at(seconds * 0.2 + OUTAGE_SECONDS, "the target of http is up again", is_out.clear)
        self.at(seconds * 0.35, "replica 1 is killed", killed.kill)
        self.at(seconds * 0.35 + DOWN_SECONDS, "replica 1 is started again", killed.start)
        self.at(freeze_at, "replica 2 is frozen", lambda: frozen.process.send_signal(signal.SIGSTOP))
        self.at(freeze_at + FROZEN_SECONDS, "replica 2 goes on", lambda: frozen.process.send_signal(signal.SIGCONT))


# What hookbox has recorded, and how it fits the logs.

class Recorded:
    """The ended jobs and the ended attempts, by webhook and route."""

    def __init__(self, server):
        rows = lambda sql: [json.loads(line) for line in psql(server, DATABASE, f"SELECT row_to_json(r) FROM ({sql}) r").splitlines()]
        self.jobs, self.attempts = {}, collections.defaultdict(dict)
        for row in rows("""SELECT f.webhook, q.route, f.status, f.error,
                extract(epoch FROM f.completed_at - w.accepted_at) AS took
                FROM finished_jobs f JOIN queues q ON q.id = f.queue JOIN webhooks w ON w.id = f.webhook"""):
            self.jobs[row["webhook"], row["route"]] = row
        for row in rows("""SELECT a.webhook, q.route, a.number, a.outcome FROM (
                SELECT webhook, queue, number, outcome FROM attempts
                UNION ALL SELECT webhook, queue, attempts, outcome FROM finished_jobs WHERE outcome IS NOT NULL) a
                JOIN queues q ON q.id = a.queue"""):
            self.attempts[row["webhook"], row["route"]][row["number"]] = OUTCOMES[row["outcome"]]
        self.webhooks = int(psql(server, DATABASE, "SELECT count(*) FROM webhooks"))
        self.unfinished = int(psql(server, DATABASE, "SELECT count(*) FROM jobs"))


def read_log(path):
    """The runs of a target, in the order in which they came: webhook and route, attempt, and how it ended."""
    meanings = {"200": "completed", "0": "completed"} if path.endswith("exec.log") else {"200": "completed"}
    runs = []
    for line in open(path):
        delivery, attempt, ended = line.split()
        webhook, _, route = delivery.rpartition("_")
        runs.append(((webhook, route), int(attempt), meanings.get(ended, "completed" if ended == "completed" else "failed")))
    return runs


def compare(route, expected, recorded, runs, faults):
    """Compares the ended jobs of a route with the runs in the log of its target; none if it has no log. The numbers of
    completed jobs, dead letters, and completed runs that were repeated."""
    completed = dead = repeated = 0
    of_job = collections.defaultdict(list)
    for job, attempt, ended in runs or []:
        of_job[job].append((attempt, ended))
    for job in of_job.keys() - expected:
        faults["ran for a job that was not accepted"].append(job)
    for job in expected:
        found, attempts, ran = recorded.jobs.get(job), recorded.attempts[job], of_job[job]
        done = [attempt for attempt, ended in ran if ended == "completed"]
        if found is None or found["status"] not in (COMPLETED, DEAD_LETTERED):
            faults["missing: the job has not ended"].append(job)
            continue
        for attempt, times in collections.Counter(attempt for attempt, _ in ran).items():
            if times > 1:
                faults["ran twice for one attempt"].append(job)
            if attempt not in attempts:
                faults["ran for an attempt that is not recorded"].append(job)
        for attempt, ended in ran:
            if ended == "failed" and attempts.get(attempt) == "completed":
                faults["failed at the target, and is recorded as completed"].append(job)
        endings = [attempt for attempt, outcome in attempts.items() if outcome == "completed"]
        if found["status"] == COMPLETED:
            completed += 1
            repeated += max(0, len(done) - 1)
            if len(endings) != 1:
                faults[f"ended {len(endings)} times by the records"].append(job)
            if runs is not None and not set(endings) <= set(done):
                faults["missing: the completed job is not in the log of the target"].append(job)
        else:
            dead += 1
            if not found["error"]:
                faults["a dead letter without a reason"].append(job)
            if done or endings:
                faults["ended twice: a dead letter that was completed, too"].append(job)
    return completed, dead, repeated


def check_order(numbers, recorded, runs, faults):
    """Checks that the webhooks of a customer started one after the other. How many started."""
    last, first_starts = {}, set()
    for job, attempt, _ in runs:
        number = numbers.get(job[0])
        if number is None:
            continue
        customer = number % CUSTOMERS
        if job not in first_starts:
            first_starts.add(job)
            if number < last.get(customer, -1):
                faults["out of order: the webhook started after a later one of its customer"].append(job)
            last[customer] = max(number, last.get(customer, -1))
        # Of an attempt that lost its lease, the request may come late.
        elif number < last[customer] and recorded.attempts[job].get(attempt) != "interrupted":
            faults["out of order: an attempt started after a later webhook of its customer"].append(job)
    return len(first_starts)


def listed_dead_letters(replica, route):
    """The ids of the dead letters of a route in the list that operators see."""
    ids, token = set(), ""
    while True:
        page = replica.ask("GET", f"/v1/webhooks?status=dead_lettered&route={route}&page_size=500&page_token={token}")
        ids |= {webhook["id"] for webhook in page["webhooks"]}
        token = page["next_page_token"]
        if not token:
            return ids


def report(options, day, replicas, folder):
    """Prints what happened. The faults, each with its jobs."""
    faults = collections.defaultdict(list)
    numbers, recorded = {id: number for number, id in day.ids.items()}, Recorded(options.server)
    total = options.seconds * options.rate
    repeats = sum(day.counts.values()) - total
    print(f"\n{len(day.ids)} of {total} webhooks accepted, {day.counts[200]} of them by a repeat that found them stored;",
          f"{repeats} requests repeated: {dict((status, n) for status, n in day.counts.items() if status not in (200, 202))}")
    print(f"ms until accepted: p50 {percentile(day.took, 0.5) * 1e3:.1f}, p99 {percentile(day.took, 0.99) * 1e3:.0f},",
          f"slowest {max(day.took) * 1e3:.0f}")
    if len(day.ids) != total:
        faults["not accepted"] += [(number, "") for number in range(total) if number not in day.ids]
    if len(numbers) != len(day.ids) or recorded.webhooks != len(day.ids):
        faults["accepted and stored webhooks differ"].append((recorded.webhooks, len(numbers)))
    columns = ["route", "jobs", "completed", "dead letters", "attempts", "failed", "interrupted", "runs in the log", "repeated",
               "p50 s", "p95 s", "slowest s"]
    print("\n" + "  ".join(columns))
    for route in ROUTES:
        expected = {(id, route) for number, id in day.ids.items() if route in webhook(number)[1]}
        runs = None if route == "simulate" else read_log(f"{folder}/{route}.log")
        completed, dead, repeated = compare(route, expected, recorded, runs, faults)
        outcomes = collections.Counter(outcome for job, attempts in recorded.attempts.items() if job[1] == route
                                       for outcome in attempts.values())
        took = [job["took"] for key, job in recorded.jobs.items() if key[1] == route] or [0.0]
        figures = [route, len(expected), completed, dead, sum(outcomes.values()), outcomes["failed"], outcomes["interrupted"],
                   "-" if runs is None else len(runs), "-" if runs is None else repeated,
                   *(f"{percentile(took, share):.3f}" for share in (0.5, 0.95, 1))]
        print("  ".join(f"{figure:>{len(column)}}" for figure, column in zip(figures, columns)))
        if route == "http":
            started = check_order(numbers, recorded, runs, faults)
        dead_letters = {key[0] for key, job in recorded.jobs.items() if key[1] == route and job["status"] == DEAD_LETTERED}
        if listed_dead_letters(replicas[2], route) != dead_letters:
            faults["the list of dead letters is not that of the records"].append((route, ""))
    for job in recorded.jobs.keys() - {(id, route) for number, id in day.ids.items() for route in webhook(number)[1]}:
        faults["a job that no route should have"].append(job)
    if recorded.unfinished:
        faults["unfinished jobs"].append((recorded.unfinished, ""))
    reasons = collections.Counter((key[1], job["error"]) for key, job in recorded.jobs.items() if job["status"] == DEAD_LETTERED)
    print("\ndead letters by reason:")
    for (route, reason), count in sorted(reasons.items(), key=str):
        print(f"{count:6}  {route}: {reason}")
    out_of_order = sum(len(jobs) for fault, jobs in faults.items() if fault.startswith("out of order"))
    print(f"\norder: {started} webhooks of {CUSTOMERS} customers started, {out_of_order} out of order")
    return faults


def run(options, folder):
    url = create_database(options.server, DATABASE)
    with open(f"{folder}/append.sh", "w") as file:
        file.write(SCRIPT)
    for route in ROUTES:
        open(f"{folder}/{route}.log", "w").close()
    settings = SETTINGS.format(host=HOST, target=TARGET, folder=folder)
    flags = {"lease": f"{LEASE_SECONDS}s", "workers": 64, "max_attempts": 12, "retry_base": "200ms", "retry_cap": "3s"}
    listens, is_out, replicas = children.Event(), children.Event(), []
    try:
        with child(http_target, f"{folder}/http.log", listens, is_out), child(worker, f"{folder}/pull.log") as pulling:
            listens.wait(30)
            for port in PORTS:
                replicas.append(Hookbox(options.program, url, settings, port, **flags))
            day = Day(options)
            day.faults(replicas, is_out)
            [thread.join() for thread in day.threads]
            print(f"{time.monotonic() - day.began:6.1f} s  everything is sent", flush=True)
            left, deadline = lambda: int(psql(options.server, DATABASE, "SELECT count(*) FROM jobs")), time.monotonic() + 180
            while left() and time.monotonic() < deadline:
                time.sleep(0.5)
            print(f"{time.monotonic() - day.began:6.1f} s  {left()} jobs are unfinished", flush=True)
            if not pulling.is_alive():
                sys.exit("the worker of pull has died")
            return report(options, day, replicas, folder)
    finally:
        for replica in replicas:
            replica.process.send_signal(signal.SIGCONT)
            log = open(f"{replica.folder}/log").read()
            with open(f"{folder}/hookbox-{replica.port}.log", "w") as file:
                file.write(log)
            replica.stop()


def main():
    options = arguments()
    folder = tempfile.mkdtemp(prefix="hookbox-day-")
    try:
        faults = run(options, folder)
    finally:
        if options.keep:
            print(f"the logs are in {folder}, and the database is {DATABASE}")
        else:
            shutil.rmtree(folder)
            drop_database(options.server, DATABASE)
    for fault, jobs in faults.items():
        print(f"FAULT: {len(jobs)} times: {fault}, for example", *("_".join(map(str, job)) for job in jobs[:5]))
    print("nothing is missing, out of order, or ended twice" if not faults else "the day has faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
