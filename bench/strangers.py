#!/usr/bin/env python3
"""Attacks hookbox as a hostile client would, and measures what an honest sender notices, and the memory of hookbox.
Needs Python 3.9 and Linux, and for PostgreSQL psql.

    bench/strangers.py target/release/hookbox
    bench/strangers.py target/release/hookbox --store postgres --open-files 1024
    bench/strangers.py target/release/hookbox --open-files 1024 untaken reflection

Each line: the p99 of the honest sender in milliseconds and its ratio to that without an attack, the slowest /healthz,
and the memory of hookbox in MiB, the largest and the last: all that is resident (VmRSS), and the part of it that is not
pages of files (RssAnon). `after` is 15 s after the last attack. The attacks come from a process of their own.

Two attacks close the HTTP/2 window, so that the client never takes an answer. Both acknowledge SETTINGS and pings.
`untaken` opens --connections connections and sends one GET /healthz on each. With --open-files 1024 there are places
for 864 of the default of 1,000. `reflection` makes 200 calls of gRPC's ServerReflectionInfo on one connection, and sends
three list_services messages on each, with a host that fills the 4 KiB that a message may have.
"""

import argparse, asyncio, json, logging, multiprocessing, os, resource, signal, statistics, struct, subprocess, tempfile, time, urllib.request

HTTP, GRPC = 18080, 15051
SERVER, DATABASE = "postgres://postgres@127.0.0.1:5432", "hookbox_strangers"
MIB = 1024 * 1024


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--open-files", type=int, default=65536, help="limit of hookbox on open files")
    parser.add_argument("--connections", type=int, default=1000, help="connections of the attack untaken")
    parser.add_argument("--seconds", type=int, default=12, help="how long each attack lasts")
    parser.add_argument("attacks", nargs="*", help="all, if none is named")
    return parser.parse_intermixed_args()


def start(options, folder):
    url = f"sqlite://{folder}/inbox.db"
    if options.store == "postgres":
        for sql in (f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}"):
            subprocess.run(["psql", "-qtA", "-d", f"{SERVER}/postgres", "-c", sql], check=True, capture_output=True)
        url = f"{SERVER}/{DATABASE}"
    environment = {"HOOKBOX_DATABASE_URL": url, "HOOKBOX_HTTP_ADDR": f"127.0.0.1:{HTTP}", "HOOKBOX_GRPC_ADDR": f"127.0.0.1:{GRPC}"}
    most = min(options.open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), most))
    process = subprocess.Popen([options.program, "serve"], cwd=folder, env=environment, preexec_fn=limit,
                               stderr=open(f"{folder}/log", "w"))
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/readyz", timeout=2).read()
            return process
        except OSError:
            time.sleep(0.1)
    raise SystemExit("hookbox did not start: " + open(f"{folder}/log").read())


def memory(process):
    """VmRSS and RssAnon in MiB."""
    with open(f"/proc/{process.pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))


class Watch:
    """The honest sender, /healthz, and the memory, from `start` to `stop`."""

    port, tls = HTTP, None

    def __init__(self, process):
        self.process, self.took, self.health, self.memory, self.refused, self.stopped = process, [], [0.0], [], 0, False

    def start(self):
        self.tasks = [asyncio.create_task(self.send()), asyncio.create_task(self.look())]

    async def request(self, text, timeout=30):
        began = time.monotonic()
        connected = asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls)
        reader, writer = await asyncio.wait_for(connected, timeout)
        writer.write(text)
        answer = await asyncio.wait_for(reader.readline(), timeout)
        writer.close()
        return answer, (time.monotonic() - began) * 1000

    def webhook(self, number):
        body = json.dumps({"event_type": "honest", "payload": {"number": number}})
        head = f"POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: {time.time_ns()}\r\n"
        return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()

    async def send(self):
        number = 0
        while not self.stopped:
            number += 1
            try:
                answer, took = await self.request(self.webhook(number))
                self.refused += b" 202 " not in answer
                self.took.append(took)
            except (OSError, asyncio.TimeoutError):
                self.refused += 1
            await asyncio.sleep(0.02)

    async def look(self):
        while not self.stopped:
            try:
                _, took = await self.request(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            except (OSError, asyncio.TimeoutError):
                took = float("inf")
            self.health.append(took)
            self.memory.append(memory(self.process))
            await asyncio.sleep(0.1)

    async def stop(self):
        self.stopped = True
        await asyncio.gather(*self.tasks)


# Attacks. Each returns what it holds, so that it is not closed.

async def connections(port, count, text=b"", trickle=False):
    held = []
    for _ in range(count):
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5)
            writer.write(text)
            held.append(writer)
        except (OSError, asyncio.TimeoutError):
            pass

    async def drip():
        while True:
            await asyncio.sleep(1)
            for writer in held:
                if not writer.is_closing():
                    writer.write(b"x")

    return held, asyncio.create_task(drip()) if trickle else None


POST_HEAD = b"POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(stream, fields, ends):
    block = b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
    return frame(1, 0x5 if ends else 0x4, stream, block)


def settings(window):
    return PREFACE + frame(4, 0, 0, struct.pack(">HI", 4, window))


async def http2(port, window=65535):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(settings(window))
    return reader, writer


def get(stream, path):
    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost")]
    return headers(stream, fields, True)


async def unread(port, path):
    """Streams whose answers are never read."""
    held = []
    for _ in range(4):
        _, writer = await http2(port, window=0)
        for number in range(200):
            writer.write(get(2 * number + 1, path))
        held.append(writer)
    return held, None


def grpc_head(stream, method, service=b"hookbox.v1.WebhookService"):
    path = b"/" + service + b"/" + method
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost"),
              (b"content-type", b"application/grpc"), (b"te", b"trailers")]
    return headers(stream, fields, False)


class Flow:
    """Acknowledges SETTINGS and pings, and sends data as far as the windows of the server allow."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.connection, self.initial, self.streams = reader, writer, 65535, 65535, {}
        self.more = asyncio.Event()

    async def listen(self):
        try:
            while True:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                if kind == 8:
                    by = int.from_bytes(payload, "big")
                    if stream == 0:
                        self.connection += by
                    else:
                        self.streams[stream] = self.streams.get(stream, self.initial) + by
                elif kind == 4 and not flags & 1:
                    for at in range(0, len(payload), 6):
                        name, value = struct.unpack(">HI", payload[at:at + 6])
                        if name == 4:
                            self.initial = value
                    self.writer.write(frame(4, 1, 0))
                elif kind == 6 and not flags & 1:
                    self.writer.write(frame(6, 1, 0, payload))
                elif kind == 3:
                    self.streams[stream] = -1
                self.more.set()
        except (asyncio.IncompleteReadError, OSError):
            pass

    async def send(self, stream, data):
        while data:
            window = min(self.connection, self.streams.get(stream, self.initial), 16384)
            if self.streams.get(stream, 0) < 0:
                return
            if window <= 0:
                self.more.clear()
                await self.more.wait()
                continue
            part, data = data[:window], data[window:]
            self.connection -= len(part)
            self.streams[stream] = self.streams.get(stream, self.initial) - len(part)
            self.writer.write(frame(0, 0, stream, part))
            await self.writer.drain()


async def untaken(count):
    """Connections that never take the answer to a request."""
    held, tasks = [], []
    for _ in range(count):
        try:
            reader, writer = await asyncio.wait_for(http2(HTTP, window=0), 5)
        except (OSError, asyncio.TimeoutError):
            continue
        writer.write(get(1, b"/healthz"))
        tasks.append(asyncio.create_task(Flow(reader, writer).listen()))
        held.append(writer)
    return held, asyncio.gather(*tasks, return_exceptions=True)


async def open_calls(count, sent):
    """Calls on one connection whose streams do not end."""
    reader, writer = await http2(GRPC)
    flow = Flow(reader, writer)
    tasks = [asyncio.create_task(flow.listen())]
    for number in range(count):
        stream = 2 * number + 1
        writer.write(grpc_head(stream, b"SubmitWebhook"))
        tasks.append(asyncio.create_task(flow.send(stream, sent)))
    return [writer], asyncio.gather(*tasks, return_exceptions=True)


async def unfinished(count, bytes):
    """Messages of which the last byte is missing."""
    return await open_calls(count, b"\0" + struct.pack(">I", bytes) + b"\x1a" * (bytes - 1))


async def unended(count, bytes):
    """Whole messages, behind which the stream does not end. Decoded, their values take about a hundred times the bytes."""
    # A list_value = 6 of objects with one member, which has neither a name nor a value.
    objects = b"\x0a\x04\x2a\x02\x0a\x00" * (bytes // 6)
    data = field(1, b"key") + field(2, b"unended") + field(3, field(6, objects))
    return await open_calls(count, b"\0" + struct.pack(">I", len(data)) + data)


def field(tag, data):
    length, out = len(data), bytes([tag << 3 | 2])
    while length > 127:
        out, length = out + bytes([length & 127 | 128]), length >> 7
    return out + bytes([length]) + data


def message(number, payload):
    """A SubmitWebhookRequest: idempotency_key = 1, event_type = 2, payload_json as bytes or text = 3 or 4."""
    return field(1, b"key %d" % number) + field(2, b"pipeline") + field(4, payload)


async def pipelines(count, messages, bytes):
    held, tasks = [], []
    payload = b'"' + b"p" * bytes + b'"'
    for pipeline in range(count):
        reader, writer = await http2(GRPC)
        flow = Flow(reader, writer)
        writer.write(grpc_head(1, b"SubmitWebhooks"))

        async def send(flow=flow, pipeline=pipeline):
            for number in range(messages):
                data = message(pipeline * messages + number, payload)
                await flow.send(1, b"\0" + struct.pack(">I", len(data)) + data)

        tasks += [asyncio.create_task(flow.listen()), asyncio.create_task(send())]
        held.append(writer)
    return held, asyncio.gather(*tasks, return_exceptions=True)


async def reflection(count, messages, bytes):
    """Calls on one connection that never take their answers, which repeat the host of a message twice."""
    # A ServerReflectionRequest: host = 1, list_services = 7. Their tags and lengths take 5 bytes.
    data = field(1, b"h" * (bytes - 5)) + field(7, b"")
    reader, writer = await http2(GRPC, window=0)
    flow = Flow(reader, writer)
    tasks = [asyncio.create_task(flow.listen())]
    for number in range(count):
        stream = 2 * number + 1
        writer.write(grpc_head(stream, b"ServerReflectionInfo", b"grpc.reflection.v1.ServerReflection"))
        sent = (b"\0" + struct.pack(">I", len(data)) + data) * messages
        tasks.append(asyncio.create_task(flow.send(stream, sent)))
    return [writer], asyncio.gather(*tasks, return_exceptions=True)


async def bodies(count, bytes):
    async def post(number):
        body = b'{"event_type":"body","payload":"' + b"b" * bytes + b'"}'
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", HTTP)
            head = f"POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: body {number}\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            await reader.readline()
        except OSError:
            pass
    return [], asyncio.gather(*(asyncio.create_task(post(number)) for number in range(count)))


ATTACKS = {
    "idle http": lambda options: connections(HTTP, 2000),
    "idle grpc": lambda options: connections(GRPC, 2000),
    "trickle http": lambda options: connections(HTTP, 2000, POST_HEAD, True),
    "trickle grpc": lambda options: connections(GRPC, 2000, PREFACE[:4], True),
    "unread http": lambda options: unread(HTTP, b"/openapi.json"),
    "unread grpc": lambda options: unread(GRPC, b"/"),
    "untaken": lambda options: untaken(options.connections),
    "reflection": lambda options: reflection(200, 3, 4096),
    "unfinished": lambda options: unfinished(1000, MIB),
    "unended": lambda options: unended(200, 2 * MIB),
    "pipelines": lambda options: pipelines(20, 256, MIB - 100),
    "bodies": lambda options: bodies(300, MIB - 200),
}


def attacker(names, options, ready, begun, stop):
    """A process that attacks once `ready` until it is stopped. What it holds is closed at its end."""
    # Connections that hookbox has closed are expected.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    async def run():
        held = [await ATTACKS[name](options) for name in names]
        begun.set()
        while not stop.is_set() and held:
            await asyncio.sleep(0.1)
        os._exit(0)

    ready.wait()
    asyncio.run(run())


async def phase(name, watch, attacks, options, seconds, alone):
    """Attacks while `watch` looks. Prints a line, and returns the p99 in milliseconds."""
    ready, begun, stop = multiprocessing.Barrier(2), multiprocessing.Event(), multiprocessing.Event()
    child = multiprocessing.Process(target=attacker, args=(attacks, options, ready, begun, stop)) if attacks else None
    if child:
        child.start()
        # The start of a process is no part of its attack.
        ready.wait(30)
    watch.start()
    if child:
        while not begun.is_set() and child.is_alive():
            await asyncio.sleep(0.05)
    await asyncio.sleep(seconds)
    await watch.stop()
    if child:
        stop.set()
        child.join(10)
        child.kill()
    p99 = statistics.quantiles(watch.took, n=100)[98] if len(watch.took) > 1 else float("inf")
    last = memory(watch.process)
    resident, anonymous = (f"{max(seen[at] for seen in watch.memory):4.0f}, {last[at]:4.0f}" for at in (0, 1))
    print(f"{name:14} p99 {p99:7.1f} ({p99 / (alone or p99):5.2f})  refused {watch.refused:3} of {len(watch.took):4}  "
          f"healthz {max(watch.health):7.1f}  VmRSS {resident}  RssAnon {anonymous}", flush=True)
    return p99


async def attack(options, process):
    await phase("warm up", Watch(process), [], options, 3, None)
    alone = await phase("alone", Watch(process), [], options, options.seconds, None)
    for name in options.attacks or ATTACKS:
        await phase(name, Watch(process), [name], options, options.seconds, alone)
        await asyncio.sleep(1)
    if not options.attacks:
        await phase("together", Watch(process), list(ATTACKS), options, options.seconds, alone)
    await asyncio.sleep(15)
    await phase("after", Watch(process), [], options, 3, alone)


def main():
    options = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="hookbox-strangers-") as folder:
        process = start(options, folder)
        try:
            asyncio.run(attack(options, process))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main()
