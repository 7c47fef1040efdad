"""A hookbox to which attackers have sent what they like, in every field that the page shows."""

import json

import harness
from everything import ANSWERS, JSON, SECRET, Filled, http_route, target

SCRIPT = "window.attacked = true"
# Texts that every field can have: without control characters, and with at most 255 characters.
NAMES = {
    "script": f"</td></textarea><script>{SCRIPT}</script><hbx-attack>end",
    "image": f"\"><img src=x onerror=\"{SCRIPT}\">end",
    "quotes": f"' autofocus onfocus='{SCRIPT}' x=\" onmouseover=\"{SCRIPT}\" `end",
    "url": f"javascript:{SCRIPT}//end",
    "entities": f"&lt;script&gt;{SCRIPT}&lt;/script&gt;&#60;hbx-attack&#62;&end",
    "override": "invoice\u202egnp.exe\u202cend",
    "isolates": "\u2066a\u2067b\u2068c\u2069\u200e\u200f\u061cd\u202aend",
    "hebrew": "שלום 17 עולם",
    "arabic": "السعر 12.50 (PLN) مدفوع",
    "combining": "Z\u0351\u0352\u0353a\u036f\u0316l\u0324\u0325g\u0326\u0327o" * 8 + "end",
    "emoji": "👩\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈🇵🇱end",
    "invisible": "a\u200b\u2060\ufeff\u00ad\u3164\U000e0041end",
    "unbroken": "x" * 255,
    "spaces": "a" + "\u00a0" * 250 + "end",
    "template": "${7*7}{{7*7}}<%= 7*7 %>#{7*7}end",
}
CONTROLS = "\0\x01\x1b[31m\x08\x7f\x85\r\nX-Header: 1\r\n\tend"
MEGABYTE = 1_000_000
# Bodies of a megabyte, each with its content type.
LARGE = {
    "one line": ("text/plain", b"x" * MEGABYTE),
    "markup": ("text/plain", b"<img src=x onerror=attack()>" * (MEGABYTE // 28)),
    "controls": ("text/plain", b"\x01" * MEGABYTE),
    "marks": ("text/plain", "\u202ea".encode() * (MEGABYTE // 4)),
    "lines": ("text/plain", b"\n" * MEGABYTE),
    "combining": ("text/plain", ("a" + "\u0351" * 499_999).encode()),
    "string": (JSON, b'"' + b"\\u202e" * (MEGABYTE // 6 - 1) + b'"'),
    "values": (JSON, b"[" + b"1," * (MEGABYTE // 2 - 2) + b"1]"),
    "levels": (JSON, b"[" * (MEGABYTE // 2) + b"]" * (MEGABYTE // 2)),
    "names": (JSON, json.dumps({f"{'n' * 90}{number}": {} for number in range(9_000)}).encode()),
    "fields": ("application/x-www-form-urlencoded", b"&".join([b"a%01=%3Cb%3E"] * (MEGABYTE // 13))),
    "field": ("application/x-www-form-urlencoded", b"a=" + b"%E2%80%AE" * (MEGABYTE // 9 - 1)),
    "bytes": ("application/octet-stream", b"\xff\xfe\0<" * (MEGABYTE // 4)),
}


def quoted(text):
    """A text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)


def settings(urls):
    later = 'retry = { base = "24h", cap = "24h" }\nbreaker = { failures = 0 }'
    match = {name: f'{{ source = "crm", event_type = {quoted(text)} }}' for name, text in NAMES.items()}
    hostile = "".join(http_route(name, match[name], url, later) for name, url in urls.items())
    return f'''
[sources.crm]
description = {quoted(NAMES["image"])}
verify = "none"
key = {{ header = "X-Id" }}
event_type = {{ header = "X-Topic" }}

[sources.large]
verify = "none"
key = "body"

[sources.bank]
secrets = ["{SECRET}"]
verify = {{ hmac = "sha256", header = "X-Signature", encoding = "hex" }}
key = {{ header = "X-Id" }}
unverified = "reject"

[[routes]]
name = "workers"
match = {{ source = "crm" }}
handler = "pull"

[[routes]]
name = "condition"
match = {{ source = "crm" }}
where = 'headers[event_type] == key'
{hostile}
'''


def answer(text):
    """What a hostile target answers: a redirect to the text, with the text in headers and body."""
    headers = {"Content-Type": "text/html", "Location": text, "X-Note": text, "Set-Cookie": text}
    return 302, headers, text.encode() + b"\xff" + CONTROLS.encode()


def attacked(test):
    """Starts a hookbox and sends it all of it. Returns the hookbox."""
    paths = {name: f"/{number}" for number, name in enumerate(NAMES)}
    url = target(test, ANSWERS | {paths[name]: answer(text) for name, text in NAMES.items()})
    all = Filled(test, settings({name: url + path for name, path in paths.items()}))
    dead = [(attack(all, text), text) for text in NAMES.values()]
    for id, text in dead:
        all.act(f"/v1/webhooks/{id}/retry", route="workers", reason=text)
    # Three webhooks of each text, one of them still with a dead letter.
    all.wait_for(retrying=3 * len(NAMES), dead_lettered=len(NAMES))
    for content_type, body in LARGE.values():
        headers = [("Content-Type", content_type)]
        all.call("POST", "/v1/sources/large/webhooks", body, headers)
    return all.hookbox


def attack(all, text):
    """Sends a text in every field that there is. Returns the id of a webhook with a dead letter."""
    # As UTF-8, which `putheader` does not write; and bytes that are no UTF-8.
    raw = text.encode()
    headers = [("User-Agent", raw), ("X-Note", raw), ("X-Bytes", b"\xff\xfe" + raw), ("Accept", raw)]
    headers.append((f"X-{'N' * 200}", b"1"))
    body = json.dumps({"text": text + CONTROLS, text: [text, {text: text}]}, ensure_ascii=False).encode()
    content_type = f'{JSON}; note="{text[:200]}"' if text.isascii() else JSON
    first = all.send(raw, body, content_type, key=raw, headers=headers)
    second = all.send(raw, raw + b"\n" + CONTROLS.encode(), "text/plain", key=raw + b"2", headers=headers)
    third = all.send(raw, b"\xff" + raw, "text/html", key=raw + b"3")
    other = json.dumps({"text": text + CONTROLS + text, text: text}, ensure_ascii=False).encode()
    refuse(all, raw, raw, content_type, other)
    refuse(all, raw, raw + b"2", "text/plain", raw + b"\n" + raw + CONTROLS.encode())
    all.act("/v1/pause", source="large", reason=text)
    all.act("/v1/resume", source="large", reason=text)
    filter = {"filter": {"event_type": text, "error_contains": text}, "reason": text, "dry_run": True}
    all.call("POST", "/v1/replays", filter)
    rejected = [("Content-Type", content_type), ("X-Signature", raw), ("X-Id", raw)]
    answer = all.hookbox.send("POST", "/v1/sources/bank/webhooks", rejected, body)
    all.test.assertEqual(answer.status, 401, answer)
    worker = "".join(text.split())[:128]
    leases = all.lease(["workers"], worker, 3)
    all.finish(worker, leases[first], failed={"error": text + CONTROLS, "permanent": True})
    all.finish(worker, leases[second], completed={"result": {text: text + CONTROLS}})
    all.finish(worker, leases[third], failed={"error": text * 2_000, "permanent": True})
    return first


def refuse(all, topic, key, content_type, body):
    """Sends another body under a key that is taken. The view of the webhook that has the key shows what differs."""
    headers = [*all.hookbox.bearer.items(), ("Content-Type", content_type), ("X-Id", key), ("X-Topic", topic)]
    answer = all.hookbox.send("POST", "/v1/sources/crm/webhooks", headers, body)
    all.test.assertEqual(answer.status, 422, answer)
