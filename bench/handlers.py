#!/usr/bin/env python3
"""Measures the handlers `http`, `exec` and `pull` against their goals. Needs Python 3.9, Linux, wrk and nginx, for
PostgreSQL psql, and for `http` the example bare_http (cargo build --release --examples). With grpcio-tools the worker of
`pull` uses gRPC, else REST.

    bench/handlers.py target/release/hookbox
    bench/handlers.py target/release/hookbox first-byte --store postgres

http        Webhooks a second that are accepted, delivered to nginx and recorded, with 64 workers; in turns with
            bare_http, which only sends the same body with the same client, from 64 threads and from 64 tasks.
hanging     The memory with 1,000 deliveries to a target that never answers, and what a healthy route notices: the rate
            of `http`, and the time to the first byte, with and without them.
exec        Runs of /bin/true a second.
pull        Jobs that one worker in Python completes a second, in batches of 100.
polls       The share of a core that 100 long polls take while no webhook comes, above that without polls. On PostgreSQL
            with that of the connections to the database.
first-byte  From a webhook to the first byte at its target, one webhook at a time: from its sending, and from its 202.

Each part starts hookbox on an empty store, --rounds times; goals hold for the medians. Exit code 1 if one is missed.
"""

import argparse, contextlib, http.client, json, os, socket, statistics, subprocess, sys, threading, time

from processes import (HERE, HOST, WORK_SERVICE, Hookbox, Nginx, child, children, cpu, create_database, drop_database, memory,
                       most_open_files, percentile, postgres_cpu, wait_until)

PORT, NGINX, TARGET, HANGING = 18480, 18482, 18483, 18484
DATABASE = "hookbox_handlers"
THREADS, HUNG, BATCH, POLLS = 64, 1_000, 100, 100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("parts", nargs="*", metavar="PART", help="all, if none is named")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432", help="PostgreSQL server on which a database is created")
    parser.add_argument("--bare", help="the example bare_http; by default that beside PROGRAM")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="how long each load lasts")
    parser.add_argument("--idle-seconds", type=int, default=30, help="how long `polls` looks, with polls and without")
    parser.add_argument("--webhooks", type=int, default=500, help="of `first-byte`")
    parser.add_argument("--transport", choices=["grpc", "rest"], default="grpc" if has_grpc() else "rest", help="of `pull`")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    options.bare = options.bare or os.path.join(os.path.dirname(options.program), "examples", "bare_http")
    return options


def has_grpc():
    try:
        import grpc, grpc_tools
        return True
    except ImportError:
        return False


def start(options, settings, **flags):
    url = create_database(options.server, DATABASE) if options.store == "postgres" else None
    return Hookbox(options.program, url, settings, PORT, **flags)


def route(name, event_type, members):
    """A route in the settings."""
    return f"[[routes]]\nname = \"{name}\"\nmatch = {{ event_type = \"{event_type}\" }}\n{members}\n"


def http_route(name, event_type, port, more=""):
    return route(name, event_type, f'handler = "http"\nurl = "http://{HOST}:{port}/hooks"\nallow = ["{HOST}"]\n{more}')


def send(hookbox, event_type, count, threads=8):
    """Sends webhooks on a few threads."""
    def run(thread):
        sender = Sender(hookbox, event_type, f"{event_type}-{time.monotonic_ns()}-{thread}")
        for _ in range(thread, count, threads):
            sender.send()
    runners = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    [runner.start() for runner in runners]
    [runner.join() for runner in runners]


class Sender:
    """Sends webhooks, one at a time, on one connection."""

    def __init__(self, hookbox, event_type, name):
        self.connection = http.client.HTTPConnection(HOST, hookbox.port, timeout=30)
        self.event_type, self.name, self.number = event_type, name, 0

    def send(self):
        self.number += 1
        body = json.dumps({"event_type": self.event_type, "payload": {"number": self.number, "note": "thanks"}})
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{self.name}-{self.number}"}
        self.connection.request("POST", "/v1/webhooks", body.encode(), headers)
        answer = self.connection.getresponse()
        answer.read()
        if answer.status != 202:
            sys.exit(f"a webhook was answered {answer.status}")


# Targets. Each runs in a process of its own.

def receive(connection, arrivals):
    """Answers the requests of a connection. Tells when the first byte of each came."""
    with connection:
        data = b""
        while chunk := connection.recv(65536):
            if not data:
                came_at = time.monotonic()
            data += chunk
            head, end, body = data.partition(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                          if line.lower().startswith(b"content-length:")) if end else 0
            if end and len(body) >= length:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                arrivals.put(came_at)
                data = b""


def target(port, listens, arrivals):
    """Answers every request at once."""
    with socket.create_server((HOST, port), backlog=1024) as listener:
        listens.set()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=receive, args=(connection, arrivals), daemon=True).start()


def silent_target(port, listens):
    """Accepts every connection, and neither reads nor answers."""
    held = []
    with socket.create_server((HOST, port), backlog=4096) as listener:
        listens.set()
        while True:
            held.append(listener.accept())


@contextlib.contextmanager
def timed_target():
    """A target that tells by a queue when requests come."""
    listens, arrivals = children.Event(), children.Queue()
    with child(target, TARGET, listens, arrivals):
        listens.wait(30)
        yield arrivals


def first_bytes(hookbox, arrivals, webhooks, warm_up=20):
    """Milliseconds from the sending of a webhook, and from its 202, to its first byte at the target. Sends one at a
    time."""
    sender, of_sending, of_answer = Sender(hookbox, "timed", f"timed-{time.monotonic_ns()}"), [], []
    for number in range(warm_up + webhooks):
        # Until hookbox has recorded the attempt, and is idle.
        time.sleep(0.02)
        sent_at = time.monotonic()
        sender.send()
        answered_at = time.monotonic()
        came_at = arrivals.get(timeout=30)
        if number >= warm_up:
            of_sending.append((came_at - sent_at) * 1e3)
            of_answer.append((came_at - answered_at) * 1e3)
    return of_sending, of_answer


# Parts. Each returns its figures of a round by name.

def deliver(options, hookbox, nginx):
    """Loads the routes that deliver to nginx. Returns accepted, and accepted and delivered webhooks a second."""
    accepted_before, before, began = hookbox.attempts("completed"), nginx.count(), time.monotonic()
    accepted = hookbox.load(options.seconds)
    while_accepting, took = nginx.count() - before, time.monotonic() - began
    wait_until("everything is delivered", lambda: nginx.count() - before >= accepted, 300, pause=0.01)
    wait_until("everything is recorded", lambda: hookbox.attempts("completed") - accepted_before >= accepted, 300, pause=0.01)
    rate = accepted / (time.monotonic() - began)
    if hookbox.attempts("failed") or hookbox.attempts("interrupted"):
        sys.exit("deliveries to nginx failed")
    return accepted / took, while_accepting / took, rate


def measure_http(options):
    if not os.path.exists(options.bare):
        sys.exit(f"{options.bare} is missing: cargo build --release --examples, or name it by --bare")
    with Nginx(NGINX) as nginx:
        bare = {}
        for how in ("threads", "tasks"):
            before = nginx.count()
            subprocess.run([options.bare, f"http://{HOST}:{NGINX}/hooks", str(options.seconds), str(THREADS), how], check=True)
            bare[how] = (nginx.count() - before) / options.seconds
        with start(options, http_route("orders", "order.*", NGINX), workers=THREADS) as hookbox:
            deliver(argparse.Namespace(seconds=1), hookbox, nginx)
            accepted, while_accepting, rate = deliver(options, hookbox, nginx)
    return {"accepted/s": accepted, "delivered/s while accepting": while_accepting, "accepted and delivered/s": rate,
            "bare/s, threads": bare["threads"], "bare/s, tasks": bare["tasks"],
            "of bare threads": rate / bare["threads"], "of bare tasks": rate / bare["tasks"]}


def measure_hanging(options):
    # Each delivery holds a thread until its timeout. So there are threads for others beside the 1,000 that hang. The
    # healthy route has as many without the ones that hang.
    settings = (http_route("orders", "order.*", NGINX, f"concurrency = {THREADS}")
                + http_route("timed", "timed", TARGET)
                + http_route("hanging", "hanging", HANGING, f'concurrency = {HUNG}\ntimeout = "1h"'))
    listens = children.Event()
    with Nginx(NGINX) as nginx, timed_target() as arrivals, child(silent_target, HANGING, listens):
        listens.wait(30)
        with start(options, settings, workers=HUNG + THREADS) as hookbox:
            deliver(argparse.Namespace(seconds=1), hookbox, nginx)
            alone, (alone_first, _) = deliver(options, hookbox, nginx)[2], first_bytes(hookbox, arrivals, 100)
            idle = memory(hookbox.pid)
            send(hookbox, "hanging", HUNG)
            wait_until(f"{HUNG} deliveries hang", lambda: hookbox.counts("hanging")["processing"] == HUNG, 60)
            time.sleep(2)
            hung = memory(hookbox.pid)
            beside, (beside_first, _) = deliver(options, hookbox, nginx)[2], first_bytes(hookbox, arrivals, 100)
            loaded = memory(hookbox.pid)
            if hookbox.counts("hanging")["processing"] != HUNG:
                sys.exit("deliveries that hang have ended")
    return {"MiB before": idle[0], "MiB hanging": hung[0], "MiB of it RssAnon": hung[1], "MiB hanging, after load": loaded[0],
            "accepted and delivered/s alone": alone, "beside": beside, "beside of alone": beside / alone,
            "ms to the first byte, p50 alone": percentile(alone_first, 0.5), "p50 beside": percentile(beside_first, 0.5),
            "p95 alone": percentile(alone_first, 0.95), "p95 beside": percentile(beside_first, 0.95)}


def measure_exec(options):
    with start(options, route("true", "order.*", 'handler = "exec"\ncommand = ["/bin/true"]'), workers=8) as hookbox:
        hookbox.ask("POST", "/v1/pause?route=true")
        hookbox.load(1)
        hookbox.ask("POST", "/v1/resume?route=true")
        time.sleep(0.5)
        before, began = hookbox.attempts("completed"), time.monotonic()
        time.sleep(options.seconds)
        after, ended = hookbox.attempts("completed"), time.monotonic()
        if not hookbox.counts("true")["pending"] or hookbox.attempts("failed"):
            sys.exit("runs have failed, or there were not enough jobs")
    return {"runs/s": (after - before) / (ended - began)}


class Rest:
    """The calls of a worker over REST."""

    def __init__(self):
        self.connection = http.client.HTTPConnection(HOST, PORT, timeout=60)

    def ask(self, path, body):
        self.connection.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        document = json.load(answer)
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered {answer.status}: {document}")
        return document["jobs"]

    def lease(self):
        wanted = {"routes": ["orders"], "worker": "bench", "max_jobs": BATCH, "wait": "1s"}
        return [(job["lease"], job["payload"]) for job in self.ask(f"{WORK_SERVICE}/lease", wanted)]

    def finish(self, results):
        outcomes = [{"lease": lease, "completed": {"result": result}} for lease, result in results]
        return sum(job["recorded"] for job in self.ask(f"{WORK_SERVICE}/finish", {"worker": "bench", "outcomes": outcomes}))


class Grpc:
    """The calls of a worker over gRPC."""

    def __init__(self):
        import grpc
        sys.path.append(f"{HERE}/../proto")
        self.proto, services = grpc.protos_and_services("hookbox/v1/work_service.proto")
        self.work = services.WorkServiceStub(grpc.insecure_channel(f"{HOST}:{PORT + 1}"))
        self.wanted = self.proto.LeaseJobsRequest(routes=["orders"], worker="bench", max_jobs=BATCH, wait={"seconds": 1})

    def lease(self):
        return [(job.lease, json.loads(job.payload_json)) for job in self.work.LeaseJobs(self.wanted, timeout=60).jobs]

    def finish(self, results):
        outcomes = [self.proto.JobOutcome(lease=lease, completed={"result_json": json.dumps(result)}) for lease, result in results]
        answer = self.work.FinishJobs(self.proto.FinishJobsRequest(worker="bench", outcomes=outcomes), timeout=60)
        return sum(job.recorded for job in answer.jobs)


def worker(transport, seconds, figures):
    """Completes jobs until there are none, or the time is over. Tells how many, and how long it took."""
    calls = {"grpc": Grpc, "rest": Rest}[transport]()
    # Connects, and warms up.
    for _ in range(10):
        calls.finish([(lease, {"order": payload["order"]}) for lease, payload in calls.lease()])
    completed, took, began = 0, 0.0, time.monotonic()
    while took < seconds and (jobs := calls.lease()):
        completed += calls.finish([(lease, {"order": payload["order"]}) for lease, payload in jobs])
        took = time.monotonic() - began
    figures.put((completed, took))


def measure_pull(options):
    with start(options, route("orders", "order.*", 'handler = "pull"')) as hookbox:
        accepted = hookbox.load(options.seconds)
        figures = children.SimpleQueue()
        with child(worker, options.transport, options.seconds, figures) as process:
            wait_until("the worker has ended", lambda: not figures.empty() or process.exitcode, options.seconds + 60)
            if figures.empty():
                sys.exit("the worker failed")
            completed, took = figures.get()
        wait_until("outcomes are counted", lambda: hookbox.attempts("completed") >= completed, 10)
        if hookbox.counts("orders")["completed"] < completed:
            sys.exit("completed jobs are missing")
    if took < options.seconds:
        print(f"the worker completed all {accepted} jobs in {took:.1f} s; send more with a longer --seconds")
    return {"completed/s": completed / took}


def poll(number, failures):
    """Polls for ever."""
    connection = http.client.HTTPConnection(HOST, PORT, timeout=60)
    body = json.dumps({"routes": ["orders"], "worker": f"idle-{number}", "max_jobs": 10, "wait": "30s"}).encode()
    while True:
        connection.request("POST", f"{WORK_SERVICE}/lease", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if json.loads(answer.read()).get("jobs") != []:
            failures.put(answer.status)


def pollers(failures):
    """100 polls that wait at once. Threads that wait for an answer cost nothing."""
    threads = [threading.Thread(target=poll, args=(number, failures), daemon=True) for number in range(POLLS)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


def measure_polls(options):
    def used():
        """The share of a core, of hookbox and of PostgreSQL."""
        look = lambda: (cpu(hookbox.pid), postgres_cpu(DATABASE) if options.store == "postgres" else 0.0)
        before, began = look(), time.monotonic()
        time.sleep(options.idle_seconds)
        after, took = look(), time.monotonic() - began
        return [100 * (after[at] - before[at]) / took for at in (0, 1)]
    with start(options, route("orders", "order.*", 'handler = "pull"')) as hookbox:
        time.sleep(3)
        without, failures = used(), children.SimpleQueue()
        with child(pollers, failures):
            waiting = lambda: hookbox.metric("hookbox_pull_polls ") == POLLS
            wait_until(f"{POLLS} polls wait", waiting, 30)
            time.sleep(3)
            beside = used()
            if not waiting() or not failures.empty():
                sys.exit("polls have ended")
    figures = {"% of a core without polls": without[0], "with 100 polls": beside[0], "for the polls": beside[0] - without[0]}
    if options.store == "postgres":
        figures |= {"% of PostgreSQL without polls": without[1], "PostgreSQL with 100 polls": beside[1]}
        figures["for the polls"] += beside[1] - without[1]
    return figures


def measure_first_byte(options):
    with timed_target() as arrivals, start(options, http_route("timed", "timed", TARGET)) as hookbox:
        of_sending, of_answer = first_bytes(hookbox, arrivals, options.webhooks)
    return {f"ms from {what}, {name}": percentile(values, share)
            for what, values in (("sending", of_sending), ("the 202", of_answer))
            for name, share in (("p50", 0.5), ("p95", 0.95))}


# What each part measures, and its goals: a figure, and whether its median reaches the goal.
PARTS = {
    "http": (measure_http, {"accepted and delivered/s": (">=", 5_000), "of bare threads": (">=", 0.5)}),
    "hanging": (measure_hanging, {"MiB hanging": ("<", 256), "MiB hanging, after load": ("<", 256), "beside of alone": (">=", 0.9)}),
    "exec": (measure_exec, {"runs/s": (">=", 400)}),
    "pull": (measure_pull, {"completed/s": (">=", 3_000)}),
    "polls": (measure_polls, {"for the polls": ("<", 1)}),
    "first-byte": (measure_first_byte, {"ms from sending, p50": ("<", {"sqlite": 3, "postgres": 5}),
                                        "ms from the 202, p50": ("<", {"sqlite": 3, "postgres": 5})}),
}


def text(value):
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def measured(options, parts, how=lambda part: ""):
    """Measures the parts that the options name, and prints their figures. Returns the goals that are missed."""
    missed = []
    for part in options.parts or parts:
        measure, goals = parts[part]
        rounds = []
        for number in range(options.rounds):
            rounds.append(measure(options))
            print(part, number + 1, *(f"{name} {text(value)}" for name, value in rounds[-1].items()), sep="  ", flush=True)
        print(f"\n{part} ({options.store}{how(part)}): median of {options.rounds} rounds (smallest to largest)")
        for name in rounds[0]:
            values = [figures[name] for figures in rounds]
            line = f"  {name}: {text(statistics.median(values))} ({text(min(values))} to {text(max(values))})"
            if name in goals:
                sign, goal = goals[name]
                goal = goal[options.store] if isinstance(goal, dict) else goal
                is_reached = statistics.median(values) >= goal if sign == ">=" else statistics.median(values) < goal
                line += f"  goal {sign} {text(goal)}" + ("" if is_reached else ": MISSED")
                missed += [] if is_reached else [f"{part}: {name}"]
            print(line, flush=True)
        print(flush=True)
    return missed


def end(missed):
    """Ends the program. Its exit code says whether a goal is missed."""
    print("missed: " + ", ".join(missed) if missed else "all goals are reached")
    sys.exit(1 if missed else 0)


def main():
    options = arguments()
    most_open_files()
    missed = measured(options, PARTS, lambda part: f", {options.transport}" if part == "pull" else "")
    if options.store == "postgres":
        drop_database(options.server, DATABASE)
    end(missed)


if __name__ == "__main__":
    main()
