#!/usr/bin/env python3
"""Measures what comes in at the URLs of sources against its goals. Needs Python 3.9, Linux, wrk, for PostgreSQL psql, and
for `slow` openssl.

    bench/sources.py target/release/hookbox
    bench/sources.py target/release/hookbox batch --store postgres

accept  Webhooks of 1 KiB a second that are accepted from a source with an HMAC, and by POST /v1/webhooks with the same
        bodies; each on an empty store, in turns.
forged  10,000 forged requests a second from one address, while 100 genuine webhooks a second of the same source come from
        another: how much later these are answered, what is stored, and the memory.
batch   The time until a request with 1,000 events is answered.
reload  SIGHUP once a second, each with other settings, while 1,000 webhooks a second come in.
slow    2,000 connections that send a byte a second, and 2,000 that begin a TLS handshake and do not go on, on either port:
        what an honest sender to a source notices, and the memory.

Each part starts hookbox on an empty store, --rounds times; goals hold for the medians. Exit code 1 if one is missed.
"""

import argparse, asyncio, hashlib, hmac, itertools, json, re, signal, ssl, subprocess, sys, tempfile, time, urllib.request

import strangers
from handlers import end, measured
from processes import (HERE, HOST, Hookbox, child, children, cpu, create_database, drop_database, memory, most_open_files,
                       percentile)

PORT, DATABASE = 18580, "hookbox_sources"
SECRET = "a secret of the benchmarks"
# No job is run.
ROUTES = '[[routes]]\nname = "kept"\nhandler = "pull"\n'
SHOP = f'[sources.shop]\npreset = "github"\nsecrets = ["{SECRET}"]\n'
BATCH = f"""[sources.batch]
verify = {{ hmac = "sha256", header = "X-Signature" }}
secrets = ["{SECRET}"]
split = "/events"
key = {{ json = "/id" }}
event_type = {{ json = "/type" }}
"""
FORGED_RATE, GENUINE_RATE, RELOAD_RATE, EVENTS, SLOW = 10_000, 100, 1_000, 1_000, 2_000
# The order in which `accept` measures, turned round with every round.
turns = itertools.cycle([["default", "source"], ["source", "default"]])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("parts", nargs="*", metavar="PART", help="all, if none is named")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432", help="PostgreSQL server on which a database is created")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="how long each load lasts")
    parser.add_argument("--connections", type=int, default=64, help="of `accept`")
    parser.add_argument("--batches", type=int, default=30, help="of `batch`")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


def start(options, settings, kind=Hookbox):
    url = create_database(options.server, DATABASE) if options.store == "postgres" else None
    return kind(options.program, url, settings, PORT)


def signature(body):
    return hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


BODY = json.dumps({"event_type": "order.paid", "payload": {"order": 7, "note": "x" * 959}}).encode()
SIGNED = {"Content-Type": "application/json", "X-GitHub-Event": "order.paid", "X-Hub-Signature-256": f"sha256={signature(BODY)}"}


def request(path, headers, body):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body


def shop(key, **headers):
    """A webhook of the source `shop`."""
    return request("/v1/sources/shop/webhooks", {**SIGNED, "X-GitHub-Delivery": key, **headers}, BODY)


async def answer(reader):
    """The status of an answer, which is read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    await reader.readexactly(int(length.group(1)) if length else 0)
    return int(head.split(b" ", 2)[1])


class Sent:
    """Genuine webhooks at a fixed rate, from an address of their own."""

    def __init__(self):
        self.took, self.refused = [], 0

    async def send(self, rate, seconds, senders=16):
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._sender(at / rate, senders / rate, until) for at in range(senders)))

    async def _sender(self, wait, pause, until):
        due, writer = time.monotonic() + wait, None
        while due < until:
            await asyncio.sleep(max(0, due - time.monotonic()))
            began = time.monotonic()
            try:
                if not writer:
                    reader, writer = await asyncio.open_connection(HOST, PORT, local_addr=("127.0.0.2", 0))
                writer.write(shop(f"{time.time_ns()}-{id(self)}-{wait}"))
                self.refused += await answer(reader) != 202
            except (OSError, asyncio.IncompleteReadError):
                self.refused, writer = self.refused + 1, None
            self.took.append((time.monotonic() - began) * 1e3)
            due += pause
        if writer:
            writer.close()

    def p99(self):
        return percentile(self.took, 0.99)


# Parts. Each returns its figures of a round by name.

def measure_accept(options):
    paths = {"default": ("/v1/webhooks", "Idempotency-Key", {"Content-Type": "application/json"}),
             "source": ("/v1/sources/shop/webhooks", "X-GitHub-Delivery", SIGNED)}
    figures = {}
    for name in next(turns):
        path, key, headers = paths[name]
        with start(options, SHOP + ROUTES) as hookbox:
            with open(f"{hookbox.folder}/body", "wb") as file:
                file.write(BODY)
            def load(seconds):
                output = subprocess.run(["wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s", "-s", f"{HERE}/signed.lua",
                                         f"http://{HOST}:{PORT}", "--", path, key, f"{hookbox.folder}/body",
                                         *(f"{header}={value}" for header, value in headers.items())],
                                        check=True, capture_output=True, text=True).stdout
                if "Non-2xx" in output or "Socket errors" in output:
                    sys.exit(f"webhooks were refused:\n{output}")
                return int(re.search(r"(\d+) requests in", output).group(1))
            load(1)
            before = cpu(hookbox.pid)
            accepted = load(options.seconds)
            figures[f"{name}, accepted/s"] = accepted / options.seconds
            figures[f"{name}, CPU us"] = (cpu(hookbox.pid) - before) * 1e6 / accepted
    figures["of default"] = figures["source, accepted/s"] / figures["default, accepted/s"]
    return dict(sorted(figures.items()))


def forger(text, rate, refused, connections=16):
    """Sends a request again and again, so many a second as far as they are answered, and counts the 401."""
    async def listen(reader):
        rest = b""
        while data := await reader.read(1 << 16):
            data = rest + data
            refused.value += data.count(b"HTTP/1.1 401")
            # Shorter than what is counted.
            rest = data[-11:]

    async def run():
        opened = [await asyncio.open_connection(HOST, PORT) for _ in range(connections)]
        listening = [asyncio.create_task(listen(reader)) for reader, _ in opened]
        began, sent = time.monotonic(), 0
        while not any(task.done() for task in listening):
            due = int((time.monotonic() - began) * rate) - sent
            due = min(due, rate // 20, rate // 4 - (sent - refused.value))
            for at, (_, writer) in enumerate(opened):
                writer.write(text * (max(due, 0) // connections))
            sent += max(due, 0) // connections * connections
            await asyncio.sleep(0.005)
        sys.exit("hookbox has closed a connection")

    asyncio.run(run())


def measure_forged(options):
    text = shop("forged", **{"X-Hub-Signature-256": f"sha256={signature(b'another body')}"})
    with start(options, SHOP + ROUTES) as hookbox:
        warm_up, alone, beside = Sent(), Sent(), Sent()
        asyncio.run(warm_up.send(GENUINE_RATE, 2))
        asyncio.run(alone.send(GENUINE_RATE, options.seconds))
        refused = children.Value("Q", 0)
        with child(forger, text, FORGED_RATE, refused):
            time.sleep(2)
            before, count, began = memory(hookbox.pid), refused.value, time.monotonic()
            asyncio.run(beside.send(GENUINE_RATE, options.seconds))
            rate = (refused.value - count) / (time.monotonic() - began)
        after, stored = memory(hookbox.pid), hookbox.counts("kept")["pending"]
    sent = sum(len(phase.took) - phase.refused for phase in (warm_up, alone, beside))
    return {"forged/s": rate, "ms, p99 alone": alone.p99(), "p99 beside": beside.p99(), "beside of alone": beside.p99() / alone.p99(),
            "genuine refused": beside.refused, "stored besides": abs(stored - sent), "MiB": after[0], "MiB more": after[0] - before[0]}


def measure_batch(options):
    async def run():
        reader, writer = await asyncio.open_connection(HOST, PORT)
        took = []
        for number in range(options.batches + 5):
            events = [{"id": f"{number}-{at}", "type": "order.paid", "order": at, "note": "x" * 100} for at in range(EVENTS)]
            body = json.dumps({"events": events}).encode()
            text = request("/v1/sources/batch/webhooks", {"Content-Type": "application/json", "X-Signature": signature(body)}, body)
            began = time.monotonic()
            writer.write(text)
            status = await answer(reader)
            took.append((time.monotonic() - began) * 1e3)
            if status != 202:
                sys.exit(f"a batch was answered {status}")
        writer.close()
        return took
    with start(options, BATCH + ROUTES) as hookbox:
        took, stored = asyncio.run(run()), hookbox.counts("kept")["pending"]
        if stored != EVENTS * len(took):
            sys.exit(f"{stored} webhooks are stored of {EVENTS * len(took)}")
    took = took[5:]
    return {"ms, p50": percentile(took, 0.5), "ms, p95": percentile(took, 0.95), "ms, largest": max(took)}


def measure_reload(options):
    sent, reloads = Sent(), 0

    async def reload(hookbox):
        nonlocal reloads
        while True:
            began, name = time.monotonic(), f"added-{reloads}"
            # Another source, and in every other file another secret before that of the sender.
            rotated = SHOP.replace("secrets = [", 'secrets = ["another one", ') if reloads % 2 else SHOP
            with open(f"{hookbox.folder}/hookbox.toml", "w") as file:
                file.write(rotated + f'[sources.{name}]\nverify = "none"\nkey = "body"\n' + ROUTES)
            hookbox.process.send_signal(signal.SIGHUP)
            while name not in str(await asyncio.to_thread(hookbox.ask, "GET", "/v1/sources")):
                if time.monotonic() - began > 30:
                    sys.exit("the settings are not in force 30 s after the SIGHUP")
                await asyncio.sleep(0.02)
            reloads += 1
            await asyncio.sleep(max(0, 1 - (time.monotonic() - began)))

    async def run(hookbox):
        reloading = asyncio.create_task(reload(hookbox))
        await sent.send(RELOAD_RATE, 3 * options.seconds, senders=64)
        if reloading.done():
            reloading.result()
        reloading.cancel()

    with start(options, SHOP + ROUTES) as hookbox:
        asyncio.run(run(hookbox))
        stored = hookbox.counts("kept")["pending"]
    return {"webhooks/s": len(sent.took) / (3 * options.seconds), "reloads/s": reloads / (3 * options.seconds),
            "refused": sent.refused, "lost": len(sent.took) - sent.refused - stored, "ms, p99": sent.p99()}


class Honest(strangers.Watch):
    """The honest sender sends to a source."""

    port = PORT

    def webhook(self, number):
        return shop(f"{time.time_ns()}-{number}", Connection="close")


class HonestByTls(Honest):
    tls = ssl._create_unverified_context()


class Secure(Hookbox):
    def is_ready(self):
        try:
            urllib.request.urlopen(f"https://{HOST}:{self.port}/readyz", timeout=5, context=HonestByTls.tls).close()
            return True
        except OSError:
            return False


HEAD = b"POST /v1/sources/shop/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
# The first bytes of a record with a ClientHello.
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
PLAIN = {"slow rest": lambda options: strangers.connections(PORT, SLOW, HEAD, True),
         "slow grpc": lambda options: strangers.connections(PORT + 1, SLOW, strangers.PREFACE[:4], True)}
BY_TLS = {"idle tls rest": lambda options: strangers.connections(PORT, SLOW, HELLO),
          "idle tls grpc": lambda options: strangers.connections(PORT + 1, SLOW, HELLO),
          "slow tls rest": lambda options: strangers.connections(PORT, SLOW, HELLO, True),
          "slow tls grpc": lambda options: strangers.connections(PORT + 1, SLOW, HELLO, True)}
# Children import this script, and so know them too.
strangers.ATTACKS.update({**PLAIN, **BY_TLS})


def certificate(folder):
    """The settings with a new certificate."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
                   check=True, capture_output=True)
    return f'[tls]\ncert = "{folder}/cert.pem"\nkey = "{folder}/key.pem"\n'


def measure_slow(options):
    figures = {}

    async def run(hookbox, watch, attacks):
        await strangers.phase("warm up", watch(hookbox.process), [], options, 3, None)
        alone = await strangers.phase("alone", watch(hookbox.process), [], options, options.seconds, None)
        for name in attacks:
            watching = watch(hookbox.process)
            p99 = await strangers.phase(name, watching, [name], options, options.seconds, alone)
            figures[f"{name}, p99 of alone"] = p99 / alone
            figures[f"{name}, MiB"] = max(resident for resident, _ in watching.memory)
            figures[f"{name}, refused"] = watching.refused
            await asyncio.sleep(2)

    with start(options, SHOP + ROUTES) as hookbox:
        asyncio.run(run(hookbox, Honest, PLAIN))
    with tempfile.TemporaryDirectory(prefix="hookbox-tls-") as folder:
        with start(options, certificate(folder) + SHOP + ROUTES, Secure) as hookbox:
            asyncio.run(run(hookbox, HonestByTls, BY_TLS))
    return figures


# What each part measures, and its goals: a figure, and whether its median reaches the goal.
PARTS = {
    "accept": (measure_accept, {"of default": (">=", 0.85)}),
    "forged": (measure_forged, {"forged/s": (">=", 0.95 * FORGED_RATE), "beside of alone": ("<", 3), "genuine refused": ("<", 1),
                                "stored besides": ("<", 1), "MiB more": ("<", 16)}),
    "batch": (measure_batch, {"ms, p50": ("<", 50)}),
    "reload": (measure_reload, {"webhooks/s": (">=", 0.95 * RELOAD_RATE), "reloads/s": (">=", 0.9), "refused": ("<", 1), "lost": ("<", 1)}),
    "slow": (measure_slow, {f"{name}, {figure}": ("<", goal) for name in [*PLAIN, *BY_TLS]
                            for figure, goal in (("p99 of alone", 2), ("MiB", 256), ("refused", 1))}),
}


def main():
    options = arguments()
    most_open_files()
    missed = measured(options, PARTS)
    if options.store == "postgres":
        drop_database(options.server, DATABASE)
    end(missed)


if __name__ == "__main__":
    main()
