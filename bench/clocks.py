#!/usr/bin/env python3
"""Sets clocks forward and back by an hour and by a day, and lets a machine sleep for an hour, while webhooks come in.
Needs Python 3.9, Linux, libfaketime (Debian: apt-get install faketime) and the programs of PostgreSQL 15 or later.

    bench/clocks.py target/release/hookbox
    bench/clocks.py target/release/hookbox --only postgres/-1h/during/all --show

A case is STORE/STEP/MOMENT/WHOSE. SQLite has one process; PostgreSQL has three replicas and a server of its own.

    STEP     by how much the clock is set; `corrected`: it was an hour ahead from the beginning, and is set right;
             `sleep`: the processes are frozen for 3 s, in which their time of day goes on by an hour, and their
             monotonic time, as far as it can be frozen, does not
    MOMENT   `before`: hookbox stops with jobs that wait, the clock is set, hookbox starts; `during`, `after` the load
    WHOSE    `one` replica, `all` replicas, the `database`, or the `machine` that runs all of them

20 webhooks a second go to all processes in turn, each with a key of its own, to routes that complete at once, fail now
and then, run for 1.5 to 3 s, are ordered, are limited by `rate`, and are pulled by a worker that holds each for 1.5 to 3 s
and extends its leases; the source has a `rate_limit`. The worker holds none while no process runs: a clock that is set
forward then looks like time that passed. A case is fine if

    lost       0: every webhook that was accepted is completed, and a repeat finds it as a duplicate
    twice      0: no attempt was interrupted, and none ran after one that had completed
    refused    0 later than 1 s after the step (those before are in brackets)
    old, new   at most 10 s: from the step until all webhooks of before are completed; from sending until it is
               completed, at most, of the webhooks after the step; and of which route the slowest was
Exit code 1 if one is not fine.
"""

import argparse, collections, concurrent.futures, glob, http.client, itertools, json, os, shutil, signal
import random, subprocess, sys, tempfile, threading, time, urllib.request

from processes import WORK_SERVICE

HTTP, GRPC, POSTGRES = 18280, 15251, 15632
HOST, DATABASE, REPLICAS = "127.0.0.1", "hookbox_clocks", 3
HOUR, DAY = 3600, 86400
# How far a clock is ahead before and after the step.
STEPS = {"+1h": (0, HOUR), "-1h": (0, -HOUR), "+1day": (0, DAY), "-1day": (0, -DAY), "corrected": (HOUR, 0)}
PER_SECOND, RECOVERED_SECONDS, REFUSED_SECONDS, GIVEN_UP_SECONDS = 20, 10, 1, 25
EVENTS = ["plain", "flaky", "slow", "ordered", "paced", "pulled"]
SETTINGS = """
rate_limit = "100/s"
[[routes]]
name = "plain"
match = { event_type = "plain" }
simulate = { min = "0s", max = "100ms" }
[[routes]]
name = "flaky"
match = { event_type = "flaky" }
simulate = { min = "0s", max = "100ms", failure_rate = 0.3 }
retry = { attempts = 100, base = "1s", cap = "1s" }
[[routes]]
name = "slow"
match = { event_type = "slow" }
simulate = { min = "1500ms", max = "3s" }
[[routes]]
name = "ordered"
match = { event_type = "ordered" }
order_by = "/order"
simulate = { min = "0s", max = "50ms" }
[[routes]]
name = "paced"
match = { event_type = "paced" }
rate = "15/s"
simulate = { min = "0s", max = "0s" }
[[routes]]
name = "pulled"
match = { event_type = "pulled" }
handler = "pull"
timeout = "1m"
"""
PULLED_LEASE, EXTENDED_SECONDS = "6s", 2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--only", nargs="*", default=[], help="cases, or beginnings of them")
    parser.add_argument("--at-once", type=int, default=4, help="cases that run at the same time")
    parser.add_argument("--lease", default="6s", help="jobs are taken over only from a third of it after the start on")
    parser.add_argument("--show", action="store_true", help="show the log lines at warn and error, and what was not fine")
    return parser.parse_args()


def cases():
    for step, moment in itertools.product(STEPS, ("before", "during", "after")):
        yield "sqlite", step, moment, "one"
    yield "sqlite", "sleep", "during", "machine"
    for step, moment, whose in itertools.product(STEPS, ("before", "during", "after"), ("one", "all", "database")):
        yield "postgres", step, moment, whose
    for whose in ("one", "machine"):
        yield "postgres", "sleep", "during", whose


class Clock:
    """The time of day of a process that is started in its `environment`."""

    LIBRARY = (glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") + [None])[0]

    def __init__(self, folder, name):
        self.path = f"{folder}/clock-{name}"
        self.set(0)
        self.environment = {"LD_PRELOAD": self.LIBRARY, "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
                            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, seconds):
        with open(f"{self.path}.new", "w") as file:
            file.write(f"{seconds:+d}\n")
        os.chmod(f"{self.path}.new", 0o644)
        os.replace(f"{self.path}.new", self.path)


class Server:
    """A server of PostgreSQL with a clock of its own, for one case after the other."""

    def __init__(self, port):
        found = shutil.which("postgres") or (sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres")) + [None])[-1]
        if not found:
            raise SystemExit("the programs of PostgreSQL are not installed")
        programs = os.path.dirname(os.path.realpath(found))
        self.folder, self.port = tempfile.mkdtemp(prefix="hookbox-clocks-"), port
        self.clock = Clock(self.folder, "database")
        # PostgreSQL does not run as root.
        user = {"user": "postgres"} if os.geteuid() == 0 else {}
        if user:
            shutil.chown(self.folder, "postgres")
        data = f"{self.folder}/data"
        subprocess.run([f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], check=True,
                       stdout=subprocess.DEVNULL, **user)
        command = [f"{programs}/postgres", "-D", data, "-p", str(port), "-k", self.folder, "-h", HOST]
        self.process = subprocess.Popen(command, env={**os.environ, **self.clock.environment}, **user,
                                        stderr=open(f"{self.folder}/log", "w"))
        for _ in range(100):
            if subprocess.run(["pg_isready", "-q", "-h", HOST, "-p", str(port)]).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit("PostgreSQL did not start: " + open(f"{self.folder}/log").read())

    @property
    def url(self):
        return f"postgres://postgres@{HOST}:{self.port}"

    def psql(self, sql, database="postgres"):
        command = ["psql", "-qtA", "-d", f"{self.url}/{database}", "-c", sql]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def pids(self):
        """The postmaster and its children."""
        found = [self.process.pid]
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as file:
                    if int(file.read().rsplit(")", 1)[1].split()[1]) == self.process.pid:
                        found.append(int(path.split("/")[2]))
            except (OSError, IndexError):
                pass
        return found

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


class Replica:
    def __init__(self, options, folder, number, port, grpc_port, url):
        self.options, self.number, self.port, self.folder = options, number, port, f"{folder}/{number}"
        os.mkdir(self.folder)
        with open(f"{self.folder}/hookbox.toml", "w") as file:
            file.write(SETTINGS)
        self.clock = Clock(self.folder, "hookbox")
        self.environment = {
            **self.clock.environment, "HOOKBOX_DATABASE_URL": url or f"sqlite://{self.folder}/hookbox.db",
            "HOOKBOX_HTTP_ADDR": f"{HOST}:{port}", "HOOKBOX_GRPC_ADDR": f"{HOST}:{grpc_port}", "HOOKBOX_LEASE": options.lease,
            "HOOKBOX_LOG_FORMAT": "json", "HOOKBOX_WORKERS": "64"}

    def start(self):
        self.process = subprocess.Popen([self.options.program, "serve"], cwd=self.folder, env=self.environment,
                                        stderr=open(f"{self.folder}/log", "a"))
        for _ in range(400):
            try:
                urllib.request.urlopen(f"http://{HOST}:{self.port}/readyz", timeout=2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("not ready within 20 s: " + open(f"{self.folder}/log").read()[-2000:])

    def ask(self, path, body=None, timeout=10):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.load(answer)
        finally:
            connection.close()

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def log(self):
        counts = collections.Counter()
        for line in open(f"{self.folder}/log"):
            line = json.loads(line)
            if line["level"] in ("WARN", "ERROR"):
                counts[f"{line['level']} {line['message']} {line.get('error') or line.get('cause') or ''}".strip()] += 1
        return counts


class Load:
    """Sends webhooks at a steady rate, and looks when they complete."""

    def __init__(self, replicas):
        self.replicas, self.lock, self.number, self.sending, self.watching = replicas, threading.Lock(), 0, False, True
        self.sent, self.accepted, self.completed, self.refused = {}, {}, {}, []
        self.threads = concurrent.futures.ThreadPoolExecutor(64)
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def body(self, number):
        return {"idempotency_key": f"key-{number}", "event_type": EVENTS[number % len(EVENTS)], "payload": {"order": number // len(EVENTS) % 4}}

    def send(self, number, replica):
        began = time.monotonic()
        try:
            status, answer = replica.ask("/v1/webhooks", self.body(number))
        except (OSError, ValueError, http.client.HTTPException) as error:
            status, answer = 0, {"reason": type(error).__name__}
        with self.lock:
            if status == 202:
                self.sent[answer["id"]], self.accepted[answer["id"]] = began, number
            else:
                self.refused.append((time.monotonic(), f"{status} {answer.get('reason')} of replica {replica.number}"))

    def burst(self, count, to):
        for _ in range(count):
            self.number += 1
            self.threads.submit(self.send, self.number, to[self.number % len(to)])

    def run(self, seconds, to=None):
        began = time.monotonic()
        for turn in range(int(seconds * PER_SECOND)):
            self.burst(1, to or self.replicas)
            time.sleep(max(0, began + (turn + 1) / PER_SECOND - time.monotonic()))

    def watch(self):
        """Notes when webhooks complete, as one of the replicas lists them."""
        while self.watching:
            for replica in reversed(self.replicas):
                try:
                    began = time.monotonic()
                    page = replica.ask("/v1/webhooks?status=completed&page_size=500", timeout=5)[1]["webhooks"]
                    for webhook in page:
                        self.completed.setdefault(webhook["id"], began)
                    break
                except (OSError, ValueError, KeyError, http.client.HTTPException):
                    pass
            time.sleep(0.1)

    def are_all_completed(self):
        with self.lock:
            return self.threads._work_queue.empty() and self.accepted.keys() <= self.completed.keys()

    def wait(self, seconds):
        until = time.monotonic() + seconds
        while not self.are_all_completed() and time.monotonic() < until:
            time.sleep(0.05)

    def finish(self):
        self.threads.shutdown()
        self.watching = False
        self.watcher.join()


class Puller:
    """A worker that pulls jobs, from one replica after the other."""

    def __init__(self, replicas):
        self.replicas, self.turn, self.held, self.pulling, self.running = replicas, 0, {}, True, True
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def ask(self, call, body):
        self.turn += 1
        try:
            status, answer = self.replicas[self.turn % len(self.replicas)].ask(f"{WORK_SERVICE}/{call}", {"worker": "puller", **body}, timeout=1)
            return answer if status == 200 else None
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def work(self):
        while self.running:
            now = time.monotonic()
            if self.pulling:
                self.lease(now)
            late = [lease for lease, (_, extended) in self.held.items() if extended + EXTENDED_SECONDS <= now][:100]
            if late and self.ask("extend", {"leases": late, "lease": PULLED_LEASE}):
                self.held.update({lease: (self.held[lease][0], now) for lease in late})
            done = [lease for lease, (end, _) in self.held.items() if end <= now][:100]
            outcomes = [{"lease": lease, "completed": {}} for lease in done]
            if done and self.ask("finish", {"outcomes": outcomes}):
                [self.held.pop(lease) for lease in done]
            time.sleep(0.1)

    def lease(self, now):
        answer = self.ask("lease", {"routes": ["pulled"], "max_jobs": 100, "wait": "0s", "lease": PULLED_LEASE})
        for job in (answer or {}).get("jobs", []):
            self.held[job["lease"]] = (now + random.uniform(1.5, 3), now)

    def pause(self):
        """Ends what it holds, and leases nothing."""
        self.pulling = False
        until = time.monotonic() + GIVEN_UP_SECONDS
        # A request to lease may be on its way.
        time.sleep(0.3)
        while self.held and time.monotonic() < until:
            time.sleep(0.05)

    def stop(self):
        self.running = False
        self.thread.join()


def examine(load, replicas):
    """Looks at each webhook: what is lost, and what ran twice."""
    lost, twice = [], []
    for id, number in sorted(load.accepted.items(), key=lambda pair: pair[1]):
        replica = replicas[-1]
        status, webhook = replica.ask(f"/v1/webhooks/{id}")
        event = EVENTS[number % len(EVENTS)]
        if status != 200 or webhook["status"] != "completed":
            due = webhook.get("next_attempt_at")
            lost.append(f"{event} {number}: {webhook.get('status', status)}, accepted {webhook.get('accepted_at')}, next attempt {due}")
            continue
        outcomes = [attempt["outcome"] for attempt in webhook["attempts"]]
        is_expected = outcomes[-1] == "completed" and set(outcomes[:-1]) <= ({"failed"} if event == "flaky" else set())
        if not is_expected or len(outcomes) != webhook["attempt_count"]:
            twice.append(f"{event} {number}: {outcomes} of {webhook['attempt_count']}")
        for _ in range(20):
            status, answer = replicas[number % len(replicas)].ask("/v1/webhooks", load.body(number))
            if status != 429:
                break
            time.sleep(0.5)
        if status != 200 or answer.get("id") != id:
            lost.append(f"{event} {number}: the repeat is answered {status}, {answer.get('id')} instead of {id}")
    return lost, twice


def set_clocks(whose, replicas, server, seconds):
    if whose in ("database", "machine") and server:
        server.clock.set(seconds)
    for replica in {"one": replicas[:1], "all": replicas, "machine": replicas}.get(whose, []):
        replica.clock.set(seconds)


def sleep(whose, replicas, server):
    pids = [replica.process.pid for replica in (replicas[:1] if whose == "one" else replicas)]
    pids += server.pids() if server and whose == "machine" else []
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    set_clocks(whose, replicas, server, HOUR)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)


def run(options, case, place, server):
    store, step, moment, whose = case
    folder = tempfile.mkdtemp(prefix="hookbox-clocks-")
    url = None
    if store == "postgres":
        server.clock.set(0)
        server.psql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        server.psql(f"CREATE DATABASE {DATABASE}")
        url = f"{server.url}/{DATABASE}?sslmode=disable"
    first = place * REPLICAS
    replicas = [Replica(options, folder, number, HTTP + first + number, GRPC + first + number, url)
                for number in range(REPLICAS if store == "postgres" else 1)]
    if step in STEPS:
        set_clocks(whose, replicas, server, STEPS[step][0])
    [replica.start() for replica in replicas]
    load, puller = Load(replicas), Puller(replicas)
    try:
        load.run(3)
        if moment == "before":
            puller.pause()
            # So that jobs wait while hookbox does not run.
            load.burst(100, replicas)
            time.sleep(0.7)
            stopped = replicas[:1] if whose == "one" and store == "postgres" else replicas
            [replica.process.terminate() for replica in stopped]
            [replica.process.wait(60) for replica in stopped]
            set_clocks(whose, replicas, server, STEPS[step][1])
            # Webhooks are sent only to replicas that run.
            [replica.start() for replica in stopped]
            at = time.monotonic()
            puller.pulling = True
            load.run(4)
        elif moment == "during":
            load.burst(20, replicas)
            if step == "sleep":
                sleeping = threading.Thread(target=sleep, args=(whose, replicas, server))
                sleeping.start()
                load.run(3)
                sleeping.join()
                at = time.monotonic()
            else:
                at = time.monotonic()
                set_clocks(whose, replicas, server, STEPS[step][1])
            load.run(4)
        else:
            load.wait(GIVEN_UP_SECONDS)
            at = time.monotonic()
            set_clocks(whose, replicas, server, STEPS[step][1])
            load.run(4)
        load.wait(GIVEN_UP_SECONDS)
        load.finish()
        lost, twice = examine(load, replicas)
    finally:
        puller.stop()
        load.finish()
        for replica in replicas:
            if replica.process.poll() is None:
                replica.stop()
    end = time.monotonic()
    took = {(is_old, event): 0.0 for is_old in (True, False) for event in EVENTS}
    for id, sent in load.sent.items():
        kind = sent < at, EVENTS[load.accepted[id] % len(EVENTS)]
        took[kind] = max(took[kind], load.completed.get(id, end) - max(sent, at))
    old, new = (max((took[is_old, event], event) for event in EVENTS) for is_old in (True, False))
    early = [text for when, text in load.refused if when <= at + REFUSED_SECONDS]
    late = [f"{text}, {when - at:.1f} s after the step" for when, text in load.refused if when > at + REFUSED_SECONDS]
    is_fine = not (lost or twice or late) and max(old, new)[0] <= RECOVERED_SECONDS
    lines = [f"{'/'.join(case):30} {'fine' if is_fine else 'NOT FINE':8}  webhooks {len(load.accepted):3}  lost {len(lost):3}  "
             f"twice {len(twice):3}  refused {len(late):3} ({len(early)})  "
             f"old {old[0]:5.1f} s ({old[1]})  new {new[0]:5.1f} s ({new[1]})"]
    if options.show or not is_fine:
        for name, texts in (("lost or stuck", lost), ("twice", twice), ("refused", late + early)):
            lines += [f"    {name}: {text}" for text in texts[:5]]
    if options.show:
        for line, count in sum((replica.log() for replica in replicas), collections.Counter()).items():
            lines.append(f"    log: {count} times {line}")
    print("\n".join(lines), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return is_fine


def main():
    options = arguments()
    if not Clock.LIBRARY:
        raise SystemExit("libfaketime is not installed; on Debian: apt-get install faketime")
    chosen = [case for case in cases() if not options.only or any("/".join(case).startswith(only) for only in options.only)]
    lock, servers, fine = threading.Lock(), {}, []

    def run_some(place):
        while True:
            with lock:
                case = chosen.pop(0) if chosen else None
                if case and case[0] == "postgres" and place not in servers:
                    servers[place] = Server(POSTGRES + place)
            if case is None:
                return
            try:
                fine.append(run(options, case, place, servers.get(place)))
            except Exception as error:
                fine.append(False)
                print(f"{'/'.join(case):30} FAILED    {type(error).__name__}: {error}", flush=True)

    began = time.monotonic()
    try:
        runners = [threading.Thread(target=run_some, args=(place,)) for place in range(min(options.at_once, len(chosen)))]
        [runner.start() for runner in runners]
        [runner.join() for runner in runners]
    finally:
        [server.stop() for server in servers.values()]
    print(f"{fine.count(True)} of {len(fine)} cases are fine, in {time.monotonic() - began:.0f} s")
    sys.exit(not all(fine))


if __name__ == "__main__":
    main()
