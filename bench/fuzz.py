#!/usr/bin/env python3
"""Fuzzes hookbox through its ports, and looks for 5xx of its own making, panics, and leaks of memory and descriptors.
Needs Python 3.9 and Linux, for REST also schemathesis (pip install schemathesis), and for PostgreSQL psql.

    bench/fuzz.py target/release/hookbox --minutes 30 --schemathesis VENV/bin/schemathesis
    bench/fuzz.py target/release/hookbox --store postgres --seed 7
    bench/fuzz.py target/release/hookbox --seed 7 --replay http1/3/120

Four fuzzers run at once: `schemathesis` calls REST by /openapi.json; `http1` sends mutated requests, `http2` mutated
frames to both ports, and `grpc` mutated messages of every method of proto/. A case of the last three is made of the
seed and its name (KIND/THREAD/NUMBER), so --replay sends it again and prints the answer. The time is cut into rounds with
15 s of silence after each; what grows from the end of the first to the end of the last is a leak. An honest sender
submits a webhook 5 times a second all the while.

Exit code 1: a 5xx that is not a 503, or a 503 STORE_UNAVAILABLE; a gRPC status INTERNAL, UNKNOWN or DATA_LOSS; a
panic or an error in the log; the process has died; a leak. Exit code 2: nothing of that, but schemathesis was not run.
"""

import argparse, collections, glob, gzip, json, multiprocessing, os, random, re, shutil, signal, socket, struct
import subprocess, sys, tempfile, threading, time, urllib.parse, urllib.request, zlib

HTTP, GRPC = 18380, 15351
HOST, DATABASE = "127.0.0.1", "hookbox_fuzz"
PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "proto", "hookbox", "v1", "*.proto")
THREADS = {"http1": 8, "http2": 6, "grpc": 8}
QUIET_SECONDS, ROUNDS = 15, 4
LEAK_MIB, LEAK_FILES = 48, 4
MIB = 1024 * 1024


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--schemathesis", default=shutil.which("schemathesis"), help="path of the program")
    parser.add_argument("--keep", help="a folder for the log of hookbox and the reports of schemathesis")
    parser.add_argument("--replay", metavar="KIND/THREAD/NUMBER", help="sends one case, and prints the answer")
    return parser.parse_args()


# What the fuzzers have in common.

def mutated(rng, data, times=None):
    data = bytearray(data)
    for _ in range(times or rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 64)))
        elif kind == 2:
            del data[at:at + rng.choice((1, 2, 8, 64))]
        elif kind == 3:
            data[at:at] = rng.choice((b"\0", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\xff", b"%00", b"{", b"\""))
        elif kind == 4 and at < len(data):
            data[at:at] = data[at:at + rng.randrange(1, 200)]
        else:
            data = data[:at]
    return bytes(data)


TEXTS = ["", "a", "default", "hookbox", "order.created", "0" * 32, "x" * 255, "x" * 256, "x" * 5000, "é" * 255, "\u202e", "\0",
         "a\nb",
         "' OR 1=1 --", "%", "../..", "🙂" * 100, "\ufeff", "null", "-1", "0.5", "2026-11-28T00:00:00Z", "9999-12-31T23:59:60Z",
         "-292277-01-01T00:00:00Z", "01a22347-d2eb-7000-a57a-7906d919bed3", "0", "1", "500", "501", "2147483648", "9223372036854775808",
         "18446744073709551616", "completed", "pending,completed"]


def text(rng):
    if rng.random() < 0.1:
        return f"key {rng.randrange(1000)}"
    if rng.random() < 0.1:
        return "".join(map(chr, rng.choices(range(1, 0x2000), k=8)))
    return rng.choice(TEXTS)


VALUES = ["null", "true", "0", "-0", "1e400", "-1E-400", "123456789012345678901234567890", "1.0", "01", "NaN", '"\\ud800"',
          '"\\u0000"', '"\\x"',
          '"' + "y" * 300 + '"', '"' + "y" * 70_000 + '"', "[" * 127 + "]" * 127, "[" * 129 + "]" * 129, '{"a":' * 200, "{", ""]


def value(rng, depth=0):
    """A JSON text."""
    kind = rng.randrange(12 if depth < 5 else 8)
    if kind < 5:
        return rng.choice(VALUES)
    if kind < 8:
        return json.dumps(text(rng), ensure_ascii=rng.random() < 0.5)
    if kind < 10:
        return "[" + ",".join(value(rng, depth + 1) for _ in range(rng.randrange(4))) + "]"
    return "{" + ",".join(json.dumps(text(rng)) + ":" + value(rng, depth + 1) for _ in range(rng.randrange(4))) + "}"


def webhook(rng):
    """A body of POST /v1/webhooks, mostly a good one."""
    key = json.dumps(rng.choice((text(rng), f"key {rng.randrange(1000)}", f"{rng.getrandbits(128):x}")))
    event_type, payload = rng.choice(('"fuzz"', '"fuzz"', json.dumps(text(rng)))), rng.choice(('{"a":1}', value(rng), value(rng)))
    members = [('"idempotency_key"', key), ('"event_type"', event_type), ('"payload"', payload)]
    if rng.random() < 0.2:
        others = (('"x"', value(rng)), members[0], ('"source"', json.dumps(text(rng))), ('"payload_json"', '"1"'))
        members.append(rng.choice(others))
    if rng.random() < 0.1:
        members.pop(rng.randrange(len(members)))
    rng.shuffle(members)
    return ("{" + ",".join(f"{name}:{member}" for name, member in members) + "}").encode("utf-8", "surrogatepass")


PATHS = ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/v1/webhooks", "/v1/webhooks/{}",
         "/v1/webhooks/{}/body", "/v1/webhooks/{}/status",
         "/v1/webhooks/{}/watch", "/v1/webhooks/{}/retry", "/v1/webhooks/{}/cancel",
         "/v1/webhooks/{}/release", "/v1/webhooks/{}/discard", "/v1/sources", "/v1/sources/{}",
         "/v1/sources/{}/rejections",
         "/v1/webhook", "/v1/status", "/v1/watch", "/v1/retry", "/v1/replay", "/v1/cancel",
         "/v1/stats", "/v1/routes", "/v1/routes/{}/move", "/v1/routes/{}/cancel", "/v1/pause", "/v1/resume", "/v1/pauses", "/v1/settings/reload"]
PARAMETERS = ["idempotency_key", "source", "route", "status", "event_type", "accepted_after", "accepted_before", "page_size",
              "page_token", "to", "x"]


def path(rng):
    def quoted(text):
        safe = "" if rng.random() < 0.9 else "/%?#&= \0é"
        try:
            return urllib.parse.quote(text, safe=safe)
        except UnicodeEncodeError:
            return "%FF%FE"
    path = rng.choice(PATHS).format(quoted(text(rng)) if rng.random() < 0.6 else rng.choice(("default", "busy")))
    if rng.random() < 0.5:
        path += "?" + "&".join(f"{rng.choice(PARAMETERS)}={quoted(text(rng))}" for _ in range(rng.choice((1, 1, 2, 3, 200))))
    if rng.random() < 0.1:
        forms = ("*", "http://localhost{}", "//{}", "{}/..", "{}%00", "{}%", "/" * 3000, "/" + "p" * 70_000, "", "{}#x", "\x7f")
        path = rng.choice(forms).replace("{}", path)
    return path.encode("utf-8", "surrogatepass")


# HTTP/1: a case is a list of pieces, sent one after the other.

def pairs(text):
    """Headers: a name and a value on each line."""
    return [tuple((line.strip() + " ").split(" ", 1)) for line in text.strip().split("\n")]


def encoded(pairs):
    return [(name.encode(), value.strip().encode("utf-8", "surrogatepass")) for name, value in pairs]


LONG = b"v" * 100_000
BOMB = gzip.compress(b"0" * 3 * MIB)
ODD_METHODS = [b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"CONNECT", b"PRI", b"get", b"G\0T", LONG[:10_000], b""]
ODD_VERSIONS = [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP", b"http/1.1", b""]
ODD_HOSTS = [b"", b"evil.example", b"localhost:x", b"[::1", b"a b", b"\xff"]
ODD_LENGTHS = [b"-1", b"+5", b"0x10", b"99999999999999999999999", b"18446744073709551615", b"", b"1 2", b"\t3"]
ODD_CODINGS = [b"Chunked", b"chunked, chunked", b"gzip, chunked", b"identity", b"chunked;x", b"\x0bchunked", b"xchunked"]
ODD_CHUNKS = [b"-1", b"ffffffffffffffff", b"10000000000000000", b"", b"zz", b"1" * 300, b"1;" + LONG[:70_000]]
COMPRESSIONS = [b"gzip", b"deflate", b"br", b"zstd", b"identity", b"gzip, gzip", b"x"]
ODD_TYPES = [b"text/plain", b"application/json; charset=latin1", b"application/problem+json", b"", b"a/b/c", b"\xff",
             b"multipart/form-data; boundary=x"]
ODD_HEADERS = encoded(pairs("""
    Expect 100-continue
    Connection close
    Connection keep-alive
    Connection upgrade, HTTP2-Settings
    Connection Host
    Upgrade h2c
    Upgrade websocket
    HTTP2-Settings AAMAAABkAAQAoAAAAAIAAAAA
    Origin null
    Origin http://localhost:18380
    Origin http://evil
    Accept text/event-stream
    Accept-Encoding gzip;q=nan, br
    Range bytes=0-1,2-3
    If-None-Match *
    Forwarded for=x
    Last-Event-ID 9999999999999999999999999999
    traceparent 00-11111111111111111111111111111111-2222222222222222-01
    traceparent 00-00000000000000000000000000000000-0-01
    """)) + [(b"Accept", LONG[:9000]), (b"X", LONG[:5000]), (b"X", LONG), (LONG[:300], b"1"), (LONG[:70_000], b"1"),
             (b"X", b"folded\r\n  line"), (b"X", b"nul\0"), (b"bad name", b"1"), (b"", b"1"), (b"X", b"\xff\xfe")]


def sent_as(rng, body):
    """A body as it is sent, and the headers that say how."""
    def length(given):
        return b"Content-Length", b"%d" % given
    kind = rng.randrange(30)
    if kind < 18:
        return body, [length(len(body))]
    if kind < 23:
        return chunked(rng, body), [(b"Transfer-Encoding", b"chunked" if rng.random() < 0.7 else rng.choice(ODD_CODINGS))]
    if kind < 26:
        packed = gzip.compress(body, 1)
        packed = rng.choice((packed, packed, packed[:-5], zlib.compress(body, 1), BOMB, b"\x28\xb5\x2f\xfd" + body))
        return packed, [length(len(packed)), (b"Content-Encoding", rng.choice(COMPRESSIONS))]
    right = length(len(body))
    return body, rng.choice(([], [length(len(body) + 10)], [length(max(0, len(body) - 3))], [right, length(len(body) + 1)],
                             [right, (b"Transfer-Encoding", b"chunked")], [(b"Content-Length", rng.choice(ODD_LENGTHS))],
                             [(b"Content-Length", b"%d, %d" % (len(body), len(body)))]))


def chunked(rng, body):
    out, at = [], 0
    while at < len(body) and len(out) < 300:
        part = body[at:at + rng.choice((1, 2, 100, 10_000))]
        at += len(part)
        form = b"%x\r\n" if rng.random() < 0.9 else rng.choice((b"%X\r\n", b"0000%x\r\n", b"%x;ext=1\r\n", b"%x \r\n", b"%x\n"))
        size = form % len(part) if rng.random() < 0.997 else rng.choice(ODD_CHUNKS) + b"\r\n"
        out.append(size + part + (b"\r\n" if rng.random() < 0.998 else b""))
    ends = (b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n", b"0\r\n" + b"T: x\r\n" * 500 + b"\r\n", b"")
    return b"".join([*out, rng.choice(ends)])


def request(rng):
    is_submission = rng.random() < 0.4
    method = rng.choice((b"GET", b"POST")) if rng.random() < 0.85 else rng.choice(ODD_METHODS)
    method, target = (b"POST", b"/v1/webhooks") if is_submission else (method, path(rng))
    body = webhook(rng) if is_submission or rng.random() < 0.2 else rng.choice((b"", b"", rng.randbytes(50), LONG[:20_000]))
    if rng.random() < 0.2:
        body = mutated(rng, body)
    if rng.random() < 0.01:
        body = b'{"event_type":"big","payload":"' + b"z" * rng.choice((MIB - 100, 2 * MIB)) + b'"}'
    body, headers = sent_as(rng, body) if body or rng.random() < 0.3 else (body, [])
    headers.append((b"Host", b"localhost" if rng.random() < 0.95 else rng.choice(ODD_HOSTS)))
    if is_submission or rng.random() < 0.3:
        headers.append((b"Content-Type", b"application/json" if rng.random() < 0.9 else rng.choice(ODD_TYPES)))
    if rng.random() < 0.2:
        headers.append((b"Idempotency-Key", text(rng).encode("utf-8", "surrogatepass").replace(b"\n", b"")))
    headers += rng.sample(ODD_HEADERS, rng.choice((0, 0, 0, 0, 1, 1, 2, 5)))
    if rng.random() < 0.02:
        headers += [(b"X-%d" % number, b"v") for number in range(rng.choice((101, 2000)))]
    rng.shuffle(headers)
    version = b"HTTP/1.1" if rng.random() < 0.96 else rng.choice(ODD_VERSIONS)
    end = b"\r\n" if rng.random() < 0.97 else b"\n"
    first = b" ".join((method, target, version))
    return end.join([first, *(name + b": " + value for name, value in headers), b"", b""]) + body


def http1(rng):
    data = b"".join(request(rng) for _ in range(rng.choice((1, 1, 1, 1, 2, 5, 20))))
    if rng.random() < 0.2:
        data = mutated(rng, data)
    if rng.random() < 0.15:
        data = data[:rng.randrange(len(data) + 1)]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 0, 1, 3))))
    return HTTP if rng.random() < 0.97 else GRPC, [data[at:to] for at, to in zip([0, *cuts], [*cuts, len(data)])]


# HTTP/2: a case is a list of pieces, too.

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b"", length=None):
    length = struct.pack(">I", len(payload) if length is None else length)[1:]
    return length + bytes([kind & 255, flags & 255]) + struct.pack(">I", stream & 0xFFFFFFFF) + payload


def fields(pairs):
    """Headers as literals without an index."""
    def number(value):
        if value < 127:
            return bytes([value])
        out, value = b"\x7f", value - 127
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])
    return b"".join(b"\0" + number(len(name)) + name + number(len(value)) + value for name, value in pairs)


ODD_FIELDS = encoded(pairs("""
    X-UPPER 1
    :path /
    :unknown 1
    :protocol websocket
    connection close
    te gzip
    content-length 5
    grpc-timeout 1n
    grpc-timeout 99999999999S
    grpc-encoding gzip
    cookie a
    """)) + [(b"", b""), (b"x", b"\0"), (b"x", LONG[:40_000])]


def post(path, type, *more):
    return [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost"),
            (b"content-type", type), *more]


def head(rng, port):
    if port == GRPC:
        method = rng.choice((b"GetStats", b"SubmitWebhook", b"SubmitWebhooks", b"WatchStatus", b"X"))
        given = post(b"/hookbox.v1.WebhookService/" + method, b"application/grpc", (b"te", b"trailers"))
    elif rng.random() < 0.5:
        given = post(b"/v1/webhooks", b"application/json")
    else:
        given = [(b":method", b"GET"), *post(path(rng), b"")[1:4]]
    if rng.random() < 0.1:
        given.append(rng.choice(ODD_FIELDS))
        if rng.random() < 0.3:
            rng.shuffle(given)
    if rng.random() < 0.02:
        given.pop(rng.randrange(len(given)))
    return fields(given)


def burst(rng, port, stream):
    """Frames that a hostile client sends to waste what the server has."""
    kind, first = rng.randrange(12), head(rng, port)
    if kind == 0:
        some = [struct.pack(">HI", rng.randrange(10), rng.choice((0, 1, 100, 2**14, 2**24 - 1, 2**31 - 1,
                2**32 - 1))) for _ in range(10)]
        return b"".join(frame(4, 0, 0, given) for given in some) * 200
    if kind == 1:
        return frame(6, 0, 0, rng.randbytes(8)) * 3000
    if kind == 2:
        return b"".join(frame(1, 5, stream + 2 * n, first) + frame(3, 0, stream + 2 * n, b"\0\0\0\x08") for n in range(500))
    if kind == 3:
        return frame(1, 0, stream, first) + frame(9, 0, stream, fields([(b"x", LONG[:4000])])) * 400
    if kind == 4:
        return frame(8, 0, 0, struct.pack(">I", 2**31 - 1)) * 3 + frame(8, 0, stream, struct.pack(">I", rng.choice((0, 2**31 - 1))))
    if kind == 5:
        return frame(1, 4, stream, first) + frame(0, 0, stream) * 3000
    if kind == 6:
        return frame(1, 4, stream, first) + frame(0, 0, stream, LONG[:16384]) * 10
    if kind == 7:
        return frame(2, 0, stream, struct.pack(">IB", stream, 255)) * 500
    if kind == 8:
        # The size of the table, as a number that is too large.
        return frame(1, 5, stream, b"\x3f\xe1\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\xff" * 20)
    if kind == 9:
        # A large entry of the table, named 12,000 times.
        return frame(1, 5, stream, first + b"\x40\x01x" + b"\x7f\xa1\x1f" + LONG[:4000] + b"\xbe" * 12_000)
    if kind == 10:
        return frame(7, 0, 0, struct.pack(">II", stream, 0)) * rng.choice((1, 1000)) + frame(1, 5, stream, first)
    return b"".join(frame(1, 5, stream + 2 * n, first) for n in range(400))


SETTINGS = [(1, 0), (2, 0), (3, 100), (4, 0), (4, 65535), (4, 2**31 - 1), (5, 16384), (5, 2**24 - 1), (6, 0), (8, 1), (99, 9)]


def http2(rng):
    port = rng.choice((HTTP, GRPC))
    pieces = [PREFACE if rng.random() < 0.95 else mutated(rng, PREFACE)]
    if rng.random() < 0.95:
        pieces.append(frame(4, 0, 0, b"".join(struct.pack(">HI", *rng.choice(SETTINGS)) for _ in range(rng.randrange(3)))))
    stream = 1
    for _ in range(rng.choice((1, 2, 5, 30))):
        kind = rng.randrange(30)
        if kind < 23:
            flags = rng.choice((4, 5)) if rng.random() < 0.9 else rng.choice((0, 0x0C, 0x24, 0x2D))
            padding = b"\x02" if flags & 8 else b""
            priority = struct.pack(">IB", rng.choice((0, stream, 2**31)), 1) if flags & 32 else b""
            pieces.append(frame(1, flags, stream, padding + priority + head(rng, port)))
            if not flags & 1:
                message = b"\0" + struct.pack(">I", rng.choice((0, 5, 100, 2**32 - 1))) + rng.randbytes(rng.choice((0, 5, 100)))
                body = webhook(rng)[:16384] if port == HTTP else message
                pieces.append(frame(0, rng.choice((0, 1, 1, 1, 1, 1, 9)), stream, body))
            stream += 2
        elif kind < 25:
            pieces.append(burst(rng, port, stream))
            stream += 2
        elif kind < 27:
            type = rng.randrange(10) if rng.random() < 0.8 else rng.randrange(256)
            data = rng.randbytes(rng.choice((0, 1, 4, 5, 6, 8, 100, 5000)))
            length = rng.choice((None, None, None, 0, 16384, 16385, 2**24 - 1))
            pieces.append(frame(type, rng.randrange(256), rng.choice((0, 1, 2, stream, 2**31 - 1, 2**32 - 1)), data, length))
        elif kind < 29:
            increment = struct.pack(">I", rng.choice((0, 1, 8, 2**31)))
            pieces.append(frame(rng.choice((3, 8)), 0, rng.choice((1, stream, stream + 2)), increment))
        else:
            pieces.append(mutated(rng, b"".join(pieces[1:])[:20_000]))
    return port, pieces


# gRPC: messages of every method, by the proto files.

def protocol():
    """The methods with their request messages, and the fields of the messages."""
    methods, messages = [], {}
    for name in sorted(glob.glob(PROTO)):
        with open(name) as file:
            source = re.sub(r"//[^\n]*", "", file.read())
        for service, block in re.findall(r"service (\w+) \{(.*?)\n\}", source, re.S):
            calls = re.findall(r"rpc (\w+)\((?:stream )?([\w.]+)\)", block)
            methods += [(f"hookbox.v1.{service}/{method}", request) for method, request in calls]
        for message, block in re.findall(r"message (\w+) \{(.*?)\}\s*(?=message|enum|service|$)", source, re.S):
            messages[message] = [(kind, int(number)) for kind, number in re.findall(r"([\w.]+) \w+ = (\d+);", block)]
    messages["Health"], messages["Extension"] = [("string", 1)], [("string", 1), ("int32", 2)]
    messages["Reflection"] = [("string", 1), ("string", 3), ("string", 4), ("Extension", 5), ("string", 6), ("string", 7)]
    methods += [("grpc.health.v1.Health/Check", "Health"), ("grpc.health.v1.Health/Watch", "Health")]
    methods += [(f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", "Reflection") for version in ("v1", "v1alpha")]
    return methods, messages


METHODS, MESSAGES = protocol()


def varint(number):
    number &= 2**64 - 1
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def delimited(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def protobuf_value(rng, depth):
    """A google.protobuf.Value."""
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return b"\x08\x00"
    if kind == 1:
        return b"\x11" + struct.pack("<d", rng.choice((0, -0.0, 1e300, float("inf"), float("nan"), 2.0**53 + 1)))
    if kind == 2:
        return delimited(3, text(rng).encode("utf-8", "surrogatepass"))
    if kind == 3:
        return b"\x20" + varint(rng.choice((0, 1, 2)))
    if kind == 4:
        return b"" if rng.random() < 0.5 else rng.choice(NESTED)
    if kind == 5:
        return delimited(6, b"".join(delimited(1, protobuf_value(rng, depth + 1)) for _ in range(rng.randrange(4))))
    names = [text(rng).encode("utf-8", "surrogatepass") for _ in range(rng.randrange(4))]
    return delimited(5, b"".join(delimited(1, delimited(1, name) + delimited(2, protobuf_value(rng, depth + 1))) for name in names))


def nested(depth):
    data = b"\x08\x00"
    for _ in range(depth):
        data = delimited(6, delimited(1, data))
    return data


NESTED = [nested(depth) for depth in (10, 40, 90, 128, 130, 1500)]
NUMBERS = [0, 1, 2, 5, 99, 500, 501, 2**31, 2**32 - 1, 2**64 - 1]
ODD_PARTS = [varint(99 << 3 | 2) + varint(3) + b"abc", varint(98 << 3 | 3) * 200, b"\x0f", b"\xff" * 11, varint(2**32),
             delimited(1, b"\xff\xfe"), varint(1 << 3 | 2) + varint(2**31)]


def member(rng, kind, number):
    if kind == "string":
        given = value(rng) if number == 4 and rng.random() < 0.8 else rng.choice(("fuzz", "default", text(rng)))
        return delimited(number, given.encode("utf-8", "surrogatepass"))
    if kind.endswith("Timestamp"):
        seconds, nanos = rng.choice((0, 1764288000, -1, 2**63 - 1, -2**63)), rng.choice((0, 999_999_999, 10**9, -1))
        return delimited(number, b"\x08" + varint(seconds) + b"\x10" + varint(nanos))
    if kind.endswith("Value"):
        return delimited(number, protobuf_value(rng, 0))
    if kind in MESSAGES:
        return delimited(number, message(rng, kind))
    return varint(number << 3) + varint(rng.choice(NUMBERS))


def message(rng, name):
    members = MESSAGES.get(name.split(".")[-1], [])
    out = [member(rng, kind, number) for kind, number in members for _ in range(rng.choice((0, 1, 1, 1, 1, 2)))]
    if rng.random() < 0.05:
        out.append(rng.choice(ODD_PARTS))
    data = b"".join(out)
    return mutated(rng, data) if rng.random() < 0.1 else data


ODD_METADATA = encoded(pairs("""
    grpc-timeout 1m
    grpc-timeout 1n
    grpc-timeout xS
    grpc-encoding gzip
    grpc-encoding x
    grpc-accept-encoding zstd,gzip
    traceparent 00-11111111111111111111111111111111-2222222222222222-01
    x-bin !!
    x-bin AAECAw==
    """))


def grpc(rng):
    pieces = [PREFACE + frame(4, 0, 0)]
    for turn in range(rng.choice((1, 1, 3, 20))):
        stream = 2 * turn + 1
        method, name = rng.choice(METHODS)
        if rng.random() < 0.03:
            method = rng.choice(("", "/", method.lower(), method + "x", "x" * 5000, "hookbox.v1.X/Y", method + "/"))
        type = b"application/grpc" if rng.random() < 0.97 else rng.choice((b"application/grpc+json", b"application/json", b""))
        more = [rng.choice(ODD_METADATA)] if rng.random() < 0.2 else []
        pieces.append(frame(1, 4, stream, fields(post(b"/" + method.encode(), type, (b"te", b"trailers"), *more))))
        for _ in range(rng.choice((1, 1, 1, 0, 2, 30))):
            data = message(rng, name)[:15_000]
            is_compressed = rng.random() < 0.05
            data = gzip.compress(data) if is_compressed and rng.random() < 0.7 else data
            odd_lengths = (0, len(data) + 1, max(0, len(data) - 1), 5 * MIB, 2**32 - 1)
            length = len(data) if rng.random() < 0.95 else rng.choice(odd_lengths)
            flag = is_compressed if rng.random() < 0.99 else 7
            pieces.append(frame(0, 0, stream, bytes([flag]) + struct.pack(">I", length) + data))
        pieces.append(frame(0, 1, stream) if rng.random() < 0.85 else frame(3, 0, stream, b"\0\0\0\x08"))
    return GRPC, pieces


KINDS = {"http1": http1, "http2": http2, "grpc": grpc}


def case(seed, name):
    """The port and the pieces of a case, and how the connection ends."""
    rng = random.Random(f"{seed}/{name}")
    port, pieces = KINDS[name.split("/")[0]](rng)
    return port, pieces, rng.choice(("read", "read", "read", "read", "shut", "reset", "leave"))


def send(port, pieces, end):
    """Sends the pieces and returns what the server answers until it is silent for a moment."""
    received = b""
    with socket.create_connection((HOST, port), timeout=5) as connection:
        connection.settimeout(1)
        try:
            for piece in pieces:
                connection.sendall(piece)
            if end == "shut":
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.1)
            until = time.monotonic() + 2
            while end != "leave" and time.monotonic() < until and len(received) < 4 * MIB:
                data = connection.recv(65536)
                if not data:
                    break
                received += data
        except (TimeoutError, OSError):
            pass
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return received


def outcomes(kind, received):
    """What is in an answer: the statuses of HTTP/1, or the frames of HTTP/2 that end something."""
    if not received:
        return ["nothing"]
    if kind == "http1":
        return [status.decode() for status in re.findall(rb"HTTP/1\.[01] (\d{3})", received)] or ["other"]
    found, at = [], 0
    while at + 9 <= len(received):
        length, type, _ = int.from_bytes(received[at:at + 3], "big"), received[at + 3], received[at + 5:at + 9]
        payload = received[at + 9:at + 9 + length]
        if type == 1:
            found.append("HEADERS :status 500" if payload[:1] == b"\x8e" else "HEADERS")
        elif type in (3, 7):
            name, code = ("RST_STREAM", payload[:4]) if type == 3 else ("GOAWAY", payload[4:8])
            found.append(f"{name} {int.from_bytes(code, 'big')}")
        at += 9 + length
    return found or ["no answer"]


def fuzz(kind, options, round_number, seconds, results):
    """One process for a kind: its threads send cases until the time is over."""
    counts, unexpected, lock = collections.Counter(), [], threading.Lock()
    until = time.monotonic() + seconds

    def run(thread):
        number = round_number * 1_000_000
        while time.monotonic() < until:
            name = f"{kind}/{thread}/{number}"
            number += 1
            try:
                found = outcomes(kind, send(*case(options.seed, name)))
            except OSError as error:
                found = [f"no connection: {type(error).__name__}"]
            with lock:
                counts["cases"] += 1
                counts.update(found)
                if {"500", "501", "502", "504", "505", "HEADERS :status 500"}.intersection(found) and len(unexpected) < 20:
                    unexpected.append(name)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(THREADS[kind])]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    results.put((kind, counts, unexpected))


# hookbox, and what is looked at.

def start(options, folder):
    url = f"sqlite://{folder}/hookbox.db"
    if options.store == "postgres":
        for sql in (f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}"):
            subprocess.run(["psql", "-qtA", "-d", f"{options.server}/postgres", "-c", sql], check=True, capture_output=True)
        url = f"{options.server}/{DATABASE}"
    environment = {"HOOKBOX_DATABASE_URL": url, "HOOKBOX_HTTP_ADDR": f"{HOST}:{HTTP}", "HOOKBOX_GRPC_ADDR": f"{HOST}:{GRPC}",
                   "HOOKBOX_LOG_FORMAT": "json", "HOOKBOX_SIMULATE_MIN": "0s", "HOOKBOX_SIMULATE_MAX": "20ms",
                   "HOOKBOX_SIMULATE_FAILURE_RATE": "0.3", "HOOKBOX_MAX_ATTEMPTS": "3", "HOOKBOX_RETRY_BASE": "1s",
                   "HOOKBOX_RETENTION_COMPLETED": "20s", "HOOKBOX_RETENTION_DEAD_LETTERED": "30s", "HOOKBOX_RETENTION_KEYS": "40s",
                   "HOOKBOX_PURGE_INTERVAL": "2s", "HOOKBOX_WORKERS": "64"}
    process = subprocess.Popen([options.program, "serve"], cwd=folder, env=environment, stderr=open(f"{folder}/log", "w"))
    for _ in range(300):
        try:
            ask("/readyz")
            return process
        except OSError:
            time.sleep(0.1)
    raise SystemExit("hookbox did not start: " + open(f"{folder}/log").read())


def ask(path, body=None):
    request = urllib.request.Request(f"http://{HOST}:{HTTP}{path}", body, {"Content-Type": "application/json"} if body else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def looked(process):
    """Memory in MiB, open files and threads of hookbox."""
    with open(f"/proc/{process.pid}/status") as status:
        values = dict(line.split(":", 1) for line in status)
    # A process that has just died has no memory.
    memory = [int(values.get(name, "0").split()[0]) / 1024 for name in ("RssAnon", "VmRSS")]
    return {"RssAnon": memory[0], "VmRSS": memory[1], "files": len(os.listdir(f"/proc/{process.pid}/fd")),
            "threads": int(values["Threads"])}


def honest(stop, process, counts, took):
    """Submits webhooks as an honest sender does. Resumes what a fuzzer has paused."""
    number = 0
    while not stop.wait(0.2):
        number += 1
        began = time.monotonic()
        try:
            ask("/v1/webhooks", json.dumps({"idempotency_key": f"honest {began}", "event_type": "honest",
                                            "payload": number}).encode())
            counts["accepted"] += 1
        except OSError as error:
            counts[str(error)] += 1
        took.append((time.monotonic() - began) * 1000)
        if number % 25 == 0:
            try:
                ask("/v1/resume", b" ")
                ask("/v1/resume?route=default", b" ")
                ask("/v1/resume?source=default", b" ")
            except OSError:
                pass


def run_schemathesis(options, folder, number, seconds):
    """Starts schemathesis. 503 is documented for most calls."""
    with open(f"{folder}/schemathesis.toml", "w") as file:
        file.write("[checks]\nnot_a_server_error.expected-statuses = [\"2xx\", \"3xx\", \"4xx\", 503]\n")
    command = [options.schemathesis, "--config-file", f"{folder}/schemathesis.toml", "run", f"http://{HOST}:{HTTP}/openapi.json",
               "--phases", "examples,coverage,fuzzing",
               "--checks", "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance",
               "--max-time", str(max(1, int(seconds))), "--seed", str(options.seed + number), "--request-timeout", "5",
               "--continue-on-failure", "--no-color", "--suppress-health-check", "all", "--exclude-path-regex", "/watch$"]
    return subprocess.Popen(command, cwd=folder, stdout=open(f"{folder}/schemathesis-{number}.txt", "w"), stderr=subprocess.STDOUT)


def requests_by_code():
    counts = collections.Counter()
    for api, code, count in re.findall(r'hookbox_requests_total\{api="(\w+)",.*?code="(\w+)"\} (\d+)', ask("/metrics")):
        counts[f"{api} {code}"] += int(count)
    return counts


def log_lines(folder):
    counts, bad = collections.Counter(), []
    for line in open(f"{folder}/log", errors="replace"):
        try:
            parsed = json.loads(line)
        except ValueError:
            bad.append(line.strip()[:300])
            continue
        if parsed["level"] == "ERROR" or "panic" in line or parsed.get("reason") in ("INTERNAL", "STORE_UNAVAILABLE"):
            bad.append(line.strip()[:600])
        if parsed["level"] in ("WARN", "ERROR"):
            counts[f"{parsed['level']} {parsed['message'][:150]} {parsed.get('reason', '')}".strip()] += 1
    return counts, bad


def run(options, folder):
    process = start(options, folder)
    print(f"seed {options.seed}, {options.store}, {options.minutes:g} minutes")

    def line(what, seen):
        print(f"{what:16} RssAnon {seen['RssAnon']:6.1f} MiB  VmRSS {seen['VmRSS']:6.1f} MiB  files {seen['files']:4}  "
              f"threads {seen['threads']:3}", flush=True)

    line("start", looked(process))
    stop, took, sender = threading.Event(), [], collections.Counter()
    canary = threading.Thread(target=honest, args=(stop, process, sender, took))
    canary.start()
    results, counts, unexpected, quiet = multiprocessing.Queue(), {kind: collections.Counter() for kind in KINDS}, [], []
    seconds = options.minutes * 60 / ROUNDS
    for number in range(ROUNDS):
        rest = run_schemathesis(options, folder, number, seconds) if options.schemathesis else None
        fuzzers = [multiprocessing.Process(target=fuzz, args=(kind, options, number, seconds, results)) for kind in KINDS]
        [fuzzer.start() for fuzzer in fuzzers]
        most = looked(process)
        while any(fuzzer.is_alive() for fuzzer in fuzzers) and results.empty():
            if process.poll() is None:
                most = {name: max(seen, most[name]) for name, seen in looked(process).items()}
            time.sleep(0.2)
        for _ in fuzzers:
            kind, found, cases = results.get(timeout=60)
            counts[kind] += found
            unexpected += cases
        [fuzzer.join(30) for fuzzer in fuzzers]
        if rest:
            try:
                rest.wait(60)
            except subprocess.TimeoutExpired:
                rest.kill()
        line(f"round {number + 1}, most", most)
        time.sleep(QUIET_SECONDS)
        if process.poll() is not None:
            break
        quiet.append(looked(process))
        line(f"round {number + 1}, quiet", quiet[-1])
    stop.set()
    canary.join()

    problems = []
    codes = collections.Counter()
    if process.poll() is not None:
        problems.append(f"hookbox has ended with {process.returncode}")
    else:
        codes = requests_by_code()
        for name, most in (("RssAnon", LEAK_MIB), ("files", LEAK_FILES)):
            if quiet[-1][name] > quiet[0][name] + most:
                problems.append(f"{name} has grown from {quiet[0][name]:.0f} to {quiet[-1][name]:.0f}")
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            problems.append("hookbox does not stop")
            process.kill()
    for kind, found in counts.items():
        print(f"{kind}: " + ", ".join(f"{what} {count}" for what, count in found.most_common(14)))
    print("answered, by code: " + ", ".join(f"{what} {count}" for what, count in sorted(codes.items())))
    print(f"honest sender: {dict(sender)}, slowest {max(took or [0]):.0f} ms")
    for number in range(ROUNDS):
        report = f"{folder}/schemathesis-{number}.txt"
        if os.path.exists(report):
            show_report(open(report, errors="replace").read(), problems)
    lines, bad = log_lines(folder)
    for what, count in lines.most_common(20):
        print(f"log: {count} times {what}")
    wrong = [code for code in codes if re.fullmatch(r"rest 5(?!03)\d\d|grpc (Internal|Unknown|DataLoss)", code)]
    problems += [f"{codes[code]} answers {code}" for code in wrong] + [f"log: {text}" for text in bad[:10]]
    problems += [f"a 5xx of the case {name}" for name in unexpected[:10]]
    print("\n".join(f"PROBLEM: {problem}" for problem in problems) or "no problems")
    if not options.schemathesis:
        print("SKIPPED: schemathesis is not installed; REST was not fuzzed by its schema")
    return 1 if problems else 0 if options.schemathesis else 2


def show_report(report, problems):
    """Prints how many cases schemathesis made, and what failed."""
    for match in re.findall(r"(?m)^\s*\d+ generated.*$", report)[:20]:
        print(f"schemathesis: {match.strip()}")
    failures = collections.Counter(re.findall(r"(?m)^- (.*)$", report))
    for failure, count in failures.most_common(20):
        print(f"schemathesis: {count} times {failure}")
    if any("Server error" in failure for failure in failures):
        problems.append("schemathesis found a server error")
    if "Schema Error" in report or "Traceback" in report:
        problems.append("schemathesis failed: " + report[-1000:])


def replay(options, folder):
    process = start(options, folder)
    try:
        port, pieces, end = case(options.seed, options.replay)
        print(f"port {port}, {sum(map(len, pieces))} bytes, then {end}: {b''.join(pieces)[:3000]}")
        print(f"answer: {send(port, pieces, end)[:3000]}")
        print(f"still runs: {process.poll() is None}")
    finally:
        process.kill()
    print(open(f"{folder}/log").read())


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="hookbox-fuzz-") as folder:
        if options.replay:
            sys.exit(replay(options, folder))
        code = run(options, folder)
        if options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("hookbox.db*"))
        sys.exit(code)


if __name__ == "__main__":
    main()
