#!/usr/bin/env python3
"""Measures what follows webhooks live: browsers with the list, and `hookbox listen`. Needs Python 3.9, Linux, wrk, and for
PostgreSQL psql. For the browser of `list`: Node, and what tests/clients/run installs.

    bench/live.py target/release/hookbox
    bench/live.py target/release/hookbox listen --store postgres

list    2,000 webhooks a second come in, without browsers and with 20 that show the live list: one is Chromium, the others
        ask for what page.js asks for. The webhooks accepted, CPU time, the time of an answer, the memory of hookbox, and of
        Chromium the longest task, the longest time between two frames, and the heap. Then the same at full rate, without
        Chromium, which needs a core of its own. Memory is taken at the end of each quarter of the time with browsers.
listen  `hookbox listen` with a target that answers at once. Webhooks one at a time: from the 202 to the first byte at the
        target. Then 1,000 a second: which of them arrive, and how much later than their 202.

Each part starts hookbox on an empty store, --rounds times; goals hold for the medians. Exit code 1 if one is missed.
"""

import argparse, asyncio, contextlib, http.client, json, os, queue, re, socket, subprocess, sys, tempfile, threading, time

from handlers import TARGET, Sender, end, measured, target
from processes import (HERE, HOST, Hookbox, child, children, cpu, create_database, drop_database, memory, most_open_files,
                       percentile, wait_until)

PORT, DATABASE = 18680, "hookbox_live"
# No job is run.
ROUTES = '[[routes]]\nname = "kept"\nhandler = "pull"\n'
BROWSERS, LIST_RATE, LISTEN_RATE = 20, 2_000, 1_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("parts", nargs="*", metavar="PART", help="all, if none is named")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432", help="PostgreSQL server on which a database is created")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20, help="how long each load lasts")
    parser.add_argument("--webhooks", type=int, default=300, help="of `listen`, one at a time")
    parser.add_argument("--installed", default=f"{HERE}/../target/clients", help="where tests/clients/run installs packages; if it is missing, there is no Chromium")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


def start(options):
    url = create_database(options.server, DATABASE) if options.store == "postgres" else None
    return Hookbox(options.program, url, ROUTES, PORT)


def load(hookbox, seconds, rate=None):
    """Sends at this rate, or as fast as it is answered. Webhooks accepted a second, CPU time for each in microseconds, and the p50 and p99 of an answer in milliseconds."""
    before = cpu(hookbox.pid)
    output = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}s", "--latency", "-s", f"{HERE}/load.lua",
                             f"http://{HOST}:{PORT}", "--", f"rate={rate}" if rate else "random"], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"webhooks were refused:\n{output}")
    accepted = int(re.search(r"(\d+) requests in", output).group(1))
    scale = {"us": 1e-3, "ms": 1, "s": 1e3}
    times = {share: float(value) * scale[unit] for share, value, unit in re.findall(r"(50|99)% +([\d.]+)(us|ms|s)\b", output)}
    return {"accepted/s": accepted / seconds, "CPU us": (cpu(hookbox.pid) - before) * 1e6 / accepted,
            "ms, p50": times["50"], "ms, p99": times["99"]}


# Browsers

async def browser(asked):
    """Shows the live list as page.js does: loads it after each event of the stream, and not while it is loading."""
    stream, events = await asyncio.open_connection(HOST, PORT)
    events.write(b"GET /live HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    loads, requests = await asyncio.open_connection(HOST, PORT)
    while line := await stream.readline():
        if line.startswith(b"HTTP/1.1") and b" 200 " not in line:
            sys.exit(f"the stream was refused: {line}")
        if line.strip() != b"data: 1":
            continue
        requests.write(b"GET /webhooks HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nHookbox-Refresh: 1\r\n"
                       b"Accept-Encoding: gzip\r\n\r\n")
        head = await loads.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            sys.exit(f"the list was refused: {head}")
        if length := re.search(rb"content-length: (\d+)", head, re.I):
            await loads.readexactly(int(length.group(1)))
        else:
            while size := int(await loads.readline(), 16):
                await loads.readexactly(size + 2)
            await loads.readline()
        asked.value += 1
    sys.exit("the stream has ended")


def browsers(count, asked):
    async def run():
        await asyncio.gather(*(browser(asked) for _ in range(count)))
    asyncio.run(run())


@contextlib.contextmanager
def chromium(options, seconds):
    """Shows the live list in Chromium. What it yields returns its figures, once it has ended."""
    if not os.path.exists(f"{options.installed}/node_modules/playwright-core"):
        print(f"no Chromium: there is no playwright-core in {options.installed}; run tests/clients/run", file=sys.stderr)
        yield lambda: {}
        return
    process = subprocess.Popen(["node", f"{HERE}/live.mjs", f"http://{HOST}:{PORT}/webhooks", str(seconds)], text=True,
                               stdout=subprocess.PIPE, env={**os.environ, "INSTALLED": os.path.abspath(options.installed)})
    try:
        if process.stdout.readline().strip() != "shown":
            sys.exit("Chromium does not show the list")
        yield lambda: json.loads(process.communicate(timeout=60)[0])
    finally:
        process.kill()
        process.wait()


def with_browsers(options, hookbox, count, rate=None):
    """A load beside browsers, how often these loaded the list in a second, and the memory at four times."""
    asked, memories = children.Value("Q", 0), []

    def watch():
        for _ in range(4):
            time.sleep(options.seconds / 4 - 0.1)
            memories.append(memory(hookbox.pid)[0])

    with child(browsers, count, asked):
        wait_until("all browsers show the list", lambda: asked.value >= count, 30)
        watching, before = threading.Thread(target=watch), asked.value
        watching.start()
        figures = load(hookbox, options.seconds, rate)
        watching.join()
        return {**figures, "loads/s": (asked.value - before) / options.seconds}, memories


def measure_list(options):
    with start(options) as hookbox:
        load(hookbox, 3, LIST_RATE)
        alone = load(hookbox, options.seconds, LIST_RATE)
        before = memory(hookbox.pid)[0]
        with chromium(options, options.seconds) as shown:
            beside, memories = with_browsers(options, hookbox, BROWSERS - 1, LIST_RATE)
            page = shown()
        full_alone = load(hookbox, options.seconds)
        full_beside, _ = with_browsers(options, hookbox, BROWSERS)
    figures = {f"{name} {where}": of[name] for name in alone for where, of in (("alone", alone), ("beside", beside))}
    return {**figures, "beside of alone": beside["accepted/s"] / alone["accepted/s"], "loads/s": beside["loads/s"],
            "full rate alone/s": full_alone["accepted/s"], "full rate beside/s": full_beside["accepted/s"],
            "full rate, beside of alone": full_beside["accepted/s"] / full_alone["accepted/s"], "MiB before": before,
            **{f"MiB {number}": value for number, value in enumerate(memories, 1)}, "MiB, last of first": memories[-1] / memories[0],
            **page}


# `listen`

def counting_target(port, listens, arrivals):
    """Answers requests at once. Tells the number of each webhook and when it came."""
    def serve(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
            at = data.find(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", data[:at].lower()).group(1)) if at >= 0 else 0
            if at < 0 or len(data) < at + 4 + length:
                continue
            came_at = time.monotonic()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            arrivals.put((json.loads(data[at + 4:])["number"], came_at))
            data = b""

    with socket.create_server((HOST, port)) as server:
        listens.set()
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()


@contextlib.contextmanager
def listening(options, hookbox, port):
    """`hookbox listen`, from now on."""
    with tempfile.TemporaryDirectory(prefix="hookbox-listen-") as folder:
        command = [os.path.abspath(options.program), "listen", "--forward", f"http://{HOST}:{port}/hooks", "--from", "now",
                   "--url", f"http://{HOST}:{PORT}"]
        with open(f"{folder}/log", "w") as log, open(f"{folder}/lines", "w") as lines:
            process = subprocess.Popen(command, stdout=lines, stderr=log, env={**os.environ, "XDG_STATE_HOME": folder})
        try:
            wait_until("it listens", lambda: "waiting for webhooks" in open(f"{folder}/log").read(), 30)
            yield process
            if process.poll() is not None:
                sys.exit("hookbox listen has ended: " + open(f"{folder}/log").read())
        finally:
            process.kill()
            process.wait()


def one_at_a_time(options, hookbox):
    listens, arrivals = children.Event(), children.Queue()
    with child(target, TARGET, listens, arrivals):
        listens.wait(30)
        with listening(options, hookbox, TARGET):
            sender, found = Sender(hookbox, "timed", f"timed-{time.monotonic_ns()}"), []
            for number in range(20 + options.webhooks):
                time.sleep(0.02)
                sender.send()
                answered_at = time.monotonic()
                came_at = arrivals.get(timeout=30)
                if number >= 20:
                    found.append(max(0, came_at - answered_at) * 1e3)
    return found


def sent_steadily(rate, seconds, connections=8):
    """Sends numbered webhooks at a rate. Returns when each was answered."""
    answered = [None] * (rate * seconds)
    began = time.monotonic()

    def run(first):
        connection = http.client.HTTPConnection(HOST, PORT, timeout=30)
        for number in range(first, len(answered), connections):
            time.sleep(max(0, began + number / rate - time.monotonic()))
            body = json.dumps({"event_type": "steady", "payload": {"number": number}})
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"steady-{began}-{number}"}
            connection.request("POST", "/v1/webhooks", body.encode(), headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 202:
                os._exit(1)
            answered[number] = time.monotonic()

    threads = [threading.Thread(target=run, args=(first,)) for first in range(connections)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return answered


def measure_listen(options):
    with start(options) as hookbox:
        found = one_at_a_time(options, hookbox)
        listens, arrivals = children.Event(), children.Queue()
        with child(counting_target, TARGET, listens, arrivals):
            listens.wait(30)
            with listening(options, hookbox, TARGET) as process:
                before = cpu(process.pid)
                answered = sent_steadily(LISTEN_RATE, options.seconds)
                took, came = answered[-1] - answered[0], []
                with contextlib.suppress(queue.Empty):
                    while len(came) < len(answered):
                        came.append(arrivals.get(timeout=10))
                used = cpu(process.pid) - before
    numbers = [number for number, _ in came]
    late = [(at - answered[number]) * 1e3 for number, at in came]
    return {"ms from the 202, p50": percentile(found, 0.5), "p95": percentile(found, 0.95), "p99": percentile(found, 0.99),
            "sent/s": len(answered) / took, "not arrived": len(set(range(len(answered))) - set(numbers)),
            "arrived twice": len(numbers) - len(set(numbers)), "ms at that rate, p50": percentile(late, 0.5),
            "ms at that rate, p99": percentile(late, 0.99), "CPU us": used * 1e6 / len(came)}


# What each part measures, and its goals: a figure, and whether its median reaches the goal.
PARTS = {
    "list": (measure_list, {"beside of alone": (">=", 0.95), "MiB, last of first": ("<", 1.1), "longest task, ms": ("<", 200)}),
    "listen": (measure_listen, {"ms from the 202, p50": ("<", 10), "not arrived": ("<", 1), "arrived twice": ("<", 1)}),
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
