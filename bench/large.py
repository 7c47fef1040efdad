#!/usr/bin/env python3
"""Sends webhooks of 8 MiB, which is far more than a usual one, through accepting, claiming, completing, listing and
purging. Between hookbox and PostgreSQL is a link of 10 MB/s for each direction, which all connections share: a proxy
in a process of its own. Needs Python 3.9 and Linux, and for PostgreSQL psql.

    bench/large.py target/release/hookbox
    bench/large.py target/release/hookbox --store postgres --webhooks 100

Prints what was accepted, completed and purged, what was refused and sent again, the slowest /healthz, the largest
memory, and the lines of the log at warn and error. Payloads are purged while webhooks arrive; then hookbox is
restarted with a short `retention_keys`, and the webhooks are purged. Another process asks /healthz and reads the
memory; how late it woke at most tells how much of a slow /healthz is due to a busy machine. Exit code 1 if a goal is
missed: all completed and purged, /healthz under 100 ms, memory under 512 MiB.
"""

import argparse, asyncio, collections, http.client, json, multiprocessing, random, signal, subprocess, sys
import tempfile, threading, time, urllib.request

HTTP, GRPC, LINK = 18180, 15151, 15532
HOST, DATABASE = "127.0.0.1", "hookbox_large"
MIB, CHUNK_BYTES = 1024 * 1024, 16 * 1024
SLOWEST_HEALTH_MS, MOST_MEMORY_MIB = 100, 512


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--port", type=int, default=5432, help="port of PostgreSQL on 127.0.0.1")
    parser.add_argument("--webhooks", type=int, default=1000)
    parser.add_argument("--mib", type=float, default=8, help="size of a webhook")
    parser.add_argument("--senders", type=int, default=16, help="connections that send at once")
    parser.add_argument("--link", type=float, default=10, help="MB/s of the link to PostgreSQL")
    return parser.parse_args()


class Link:
    """A proxy whose connections share `rate` bytes a second for each direction."""

    def __init__(self, rate, port):
        self.rate, self.port, self.free_at, self.locks = rate, port, [0.0, 0.0], [asyncio.Lock(), asyncio.Lock()]

    async def carry(self, direction, reader, writer):
        try:
            while data := await reader.read(CHUNK_BYTES):
                # The connections take turns, so each gets the same share.
                async with self.locks[direction]:
                    now = time.monotonic()
                    # A link that was idle catches up 10 ms, because a sleep can be late by that much.
                    free_at = max(self.free_at[direction], now - 0.01) + len(data) / self.rate
                    self.free_at[direction] = free_at
                    await asyncio.sleep(max(0, free_at - now))
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connect(self, reader, writer):
        try:
            there_reader, there_writer = await asyncio.open_connection(HOST, self.port, limit=CHUNK_BYTES)
        except OSError:
            return writer.close()
        for end in (writer, there_writer):
            end.transport.set_write_buffer_limits(high=4 * CHUNK_BYTES)
        await asyncio.gather(self.carry(0, reader, there_writer), self.carry(1, there_reader, writer))

    async def serve(self):
        async with await asyncio.start_server(self.connect, HOST, LINK, limit=CHUNK_BYTES) as server:
            await server.serve_forever()


def link(rate, port):
    asyncio.run(Link(rate, port).serve())


def memory(pid):
    """VmRSS and RssAnon in MiB."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return [int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")]


def watch(pid, stop, results):
    """Asks /healthz and reads the memory 20 times a second."""
    health, most, late, connection = [], [0.0, 0.0], 0.0, None
    while not stop.is_set():
        began = time.monotonic()
        try:
            connection = connection or http.client.HTTPConnection(HOST, HTTP, timeout=10)
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            health.append((time.monotonic() - began) * 1000 if answer.status == 200 else float("inf"))
        except (OSError, http.client.HTTPException):
            health.append(float("inf"))
            connection = None
        most = [max(pair) for pair in zip(most, memory(pid))]
        woken = time.monotonic() + 0.05
        time.sleep(0.05)
        late = max(late, (time.monotonic() - woken) * 1000)
    results.put((health, most, late))


started = []


class Hookbox:
    """A process of hookbox, and the process that watches it."""

    def __init__(self, options, folder, url, retention_keys):
        environment = {
            "HOOKBOX_DATABASE_URL": url, "HOOKBOX_HTTP_ADDR": f"{HOST}:{HTTP}", "HOOKBOX_GRPC_ADDR": f"{HOST}:{GRPC}",
            "HOOKBOX_MAX_BODY": "16MiB", "HOOKBOX_SIMULATE_MIN": "0s", "HOOKBOX_SIMULATE_MAX": "0s",
            "HOOKBOX_RETENTION_COMPLETED": "1s", "HOOKBOX_RETENTION_DEAD_LETTERED": "1s",
            "HOOKBOX_RETENTION_KEYS": retention_keys, "HOOKBOX_PURGE_INTERVAL": "1s", "HOOKBOX_LOG_FORMAT": "json",
        }
        self.process = subprocess.Popen([options.program, "serve"], cwd=folder, env=environment,
                                        stderr=open(f"{folder}/log", "a"))
        deadline = time.monotonic() + 60
        while not self.is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit("hookbox did not start: " + open(f"{folder}/log").read())
            time.sleep(0.1)
        started.append(self.process)
        self.stopping, self.results = multiprocessing.Event(), multiprocessing.Queue()
        self.watcher = multiprocessing.Process(target=watch, args=(self.process.pid, self.stopping, self.results), daemon=True)
        self.watcher.start()

    @staticmethod
    def is_ready():
        try:
            urllib.request.urlopen(f"http://{HOST}:{HTTP}/readyz", timeout=5).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.stopping.set()
        watched = self.results.get(timeout=30)
        self.watcher.join(10)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        return watched


def ask(path):
    with urllib.request.urlopen(f"http://{HOST}:{HTTP}{path}", timeout=30) as answer:
        return answer.read().decode()


def metric(name):
    """The sum of a metric over its labels that are not named."""
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in ask("/metrics").splitlines() if line.startswith(name)))


def pattern(size):
    """Objects of about 1 KiB with random text, so that no store can compress them away."""
    source = random.Random(8)
    items, used = [], 0
    while used < size - 1100:
        items.append(json.dumps({"number": len(items), "amount": source.random(), "text": source.randbytes(480).hex()}))
        used += len(items[-1]) + 1
    return ("[" + ",".join(items)).encode()


def send(options, counts, lock):
    """Sends the webhooks, each until it is accepted."""
    numbers = iter(range(options.webhooks))
    body_start, items = b'{"event_type":"large","payload":', pattern(int(options.mib * MIB))

    def run():
        connection = None
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            body = body_start + items + b',{"webhook":%d}]}' % number
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"large-{number}"}
            deadline = time.monotonic() + 600
            while time.monotonic() < deadline:
                pause, outcome = 1.0, "no answer"
                try:
                    connection = connection or http.client.HTTPConnection(HOST, HTTP, timeout=60)
                    connection.request("POST", "/v1/webhooks", body, headers)
                    answer = connection.getresponse()
                    document = json.load(answer)
                    outcome = f"{answer.status} {document.get('reason', '')}".strip()
                    pause = float(answer.headers.get("Retry-After", 1))
                    if answer.will_close:
                        connection.close()
                except (OSError, ValueError, http.client.HTTPException) as error:
                    outcome = f"no answer: {type(error).__name__}"
                    connection.close()
                    connection = None
                with lock:
                    counts[outcome] += 1
                if outcome in ("202", "200"):
                    break
                time.sleep(pause)
            else:
                with lock:
                    counts["given up"] += 1

    runners = [threading.Thread(target=run, daemon=True) for _ in range(options.senders)]
    [runner.start() for runner in runners]
    return runners


def listed(status):
    """How many webhooks the lists have, page by page."""
    count, token = 0, ""
    while True:
        page = json.loads(ask(f"/v1/webhooks?status={status}&page_size=500&page_token={token}"))
        count, token = count + len(page["webhooks"]), page["next_page_token"]
        if not token:
            return count


def keep_listing(stop, took, failures):
    while not stop.wait(1):
        began = time.monotonic()
        try:
            listed("completed")
            took.append((time.monotonic() - began) * 1000)
        except (OSError, ValueError) as error:
            failures[str(error)] += 1


def wait_until(reached, seconds, runners=()):
    """Waits until `reached()`. Gives up once nothing has changed for `seconds`."""
    last, since = None, time.monotonic()
    while time.monotonic() - since < seconds or any(runner.is_alive() for runner in runners):
        try:
            value = reached()
        except OSError:
            value = last
        if value is True:
            return
        if value != last:
            last, since = value, time.monotonic()
        time.sleep(0.5)


def log_lines(folder):
    counts = collections.Counter()
    for line in open(f"{folder}/log"):
        try:
            line = json.loads(line)
        except ValueError:
            counts[f"not JSON: {line.strip()[:200]}"] += 1
            continue
        if line["level"] in ("WARN", "ERROR"):
            counts[f"{line['level']} {line['message']} {line.get('error') or line.get('cause') or ''}".strip()] += 1
    return counts


def run(options, folder, url):
    counts, lock, failures = collections.Counter(), threading.Lock(), collections.Counter()
    hookbox = Hookbox(options, folder, url, "30d")
    began = time.monotonic()
    runners = send(options, counts, lock)
    stop_listing, took = threading.Event(), []
    lister = threading.Thread(target=keep_listing, args=(stop_listing, took, failures), daemon=True)
    lister.start()
    payloads = 'hookbox_purged_total{what="payload"}'
    reached = lambda: metric(payloads) >= options.webhooks or (metric(payloads), sum(counts.values()))
    [runner.join() for runner in runners]
    accepted_after = time.monotonic() - began
    wait_until(reached, 120)
    done_after = time.monotonic() - began
    stop_listing.set()
    lister.join(60)
    first = metric(payloads)
    completed = listed("completed")
    attempts = metric("hookbox_attempts_total")
    watched = [hookbox.stop()]

    # Purges the keys, too.
    hookbox = Hookbox(options, folder, url, "1s")
    webhooks = 'hookbox_purged_total{what="webhook"}'
    wait_until(lambda: metric(webhooks) >= completed or metric(webhooks), 60)
    purged, left = metric(webhooks), listed("")
    watched.append(hookbox.stop())

    health = sorted(took for health, _, _ in watched for took in health)
    resident, anonymous = (max(most[at] for _, most, _ in watched) for at in (0, 1))
    refused = {outcome: count for outcome, count in counts.items() if outcome not in ("202", "200")}
    new, duplicates = counts["202"], counts["200"]
    print(f"{options.store}: {options.webhooks} webhooks of {options.mib:g} MiB: accepted {new + duplicates} in "
          f"{accepted_after:.0f} s ({duplicates} of them at a repeat that found them stored), completed {completed} in "
          f"{attempts} attempts, purged {first} payloads in {done_after:.0f} s and {purged} webhooks, left {left}")
    print(f"refused and sent again: {sum(refused.values())} {refused or ''}")
    print(f"/healthz: slowest {health[-1]:.1f} ms, p99 {health[int(len(health) * 0.99)]:.1f} ms, of {len(health)}; "
          f"its watcher woke late by at most {max(late for _, _, late in watched):.1f} ms")
    print(f"lists: slowest {max(took or [0]):.0f} ms of {len(took)}; failed {sum(failures.values())} {dict(failures) or ''}")
    print(f"memory: VmRSS {resident:.0f} MiB, RssAnon {anonymous:.0f} MiB")
    for line, count in sorted(log_lines(folder).items()):
        print(f"log: {count:4} times {line}")
    missed = [what for what, is_missed in {
        "all completed": completed != options.webhooks, "all purged": (first, purged, left) != (options.webhooks, options.webhooks, 0),
        f"/healthz under {SLOWEST_HEALTH_MS} ms": health[-1] >= SLOWEST_HEALTH_MS,
        f"memory under {MOST_MEMORY_MIB} MiB": resident >= MOST_MEMORY_MIB}.items() if is_missed]
    print("missed: " + ", ".join(missed) if missed else "all goals are reached", flush=True)
    return 1 if missed else 0


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="hookbox-large-") as folder:
        try:
            code = measure(options, folder)
        finally:
            [process.kill() for process in started if process.poll() is None]
    sys.exit(code)


def measure(options, folder):
    if options.store == "sqlite":
        return run(options, folder, f"sqlite://{folder}/hookbox.db")
    server = f"postgres://postgres@{HOST}:{options.port}/postgres"
    psql = lambda sql: subprocess.run(["psql", "-qtA", "-d", server, "-c", sql], check=True, capture_output=True)
    psql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    psql(f"CREATE DATABASE {DATABASE}")
    proxy = multiprocessing.Process(target=link, args=(options.link * 1e6, options.port), daemon=True)
    proxy.start()
    try:
        return run(options, folder, f"postgres://postgres@{HOST}:{LINK}/{DATABASE}?sslmode=disable")
    finally:
        proxy.terminate()
        psql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


if __name__ == "__main__":
    main()
