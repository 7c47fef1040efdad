"""The senders of all presets. Each sends a request of src/sources/vectors.json, signed anew, and expects the keys and
event types that it has there."""

import base64
import hashlib
import json
import pathlib
import re
import time
import tomllib
import urllib.parse

from signer import PUBLIC_URL, Key, Request, compact, found, listed, scheme_of

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "src" / "sources"
PRESETS = tomllib.loads((SOURCES / "presets.toml").read_text())
RECORDED = json.loads((SOURCES / "vectors.json").read_text())
# Presets whose keys hookbox fetches from hosts of the sender, which no test here can be. The Rust tests take the same ones
# from the same file: tests/integration/api/sources/fetched.rs, and those beside src/sources, which have all presets.
FETCHED = {vector["preset"] for vector in RECORDED["vectors"] if vector.get("fetched")}
VERIFY_TOKEN = "a-token-of-the-handshakes"


def recorded(vector, source=None):
    """A recorded request; to a source of the tests, if one is named."""
    url = urllib.parse.urlsplit(vector["url"])
    path = f"/v1/sources/{source}/webhooks" if source else url.path
    origin = PUBLIC_URL if source else f"{url.scheme}://{url.netloc}"
    body = base64.b64decode(vector["body_base64"]).decode()
    return Request(vector["method"], path, url.query, tuple(map(tuple, vector["headers"])), body, origin)


def digest(text):
    """The part `body` of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_of_request(key):
    """Whether a recorded key is the id of its request, which no other request has."""
    return re.fullmatch(r"r1(-\d+)?", key) is not None


def has_signed(scheme, vector):
    """Whether a scheme signs a recorded request as its sender did, with one of the secrets."""
    request = recorded(vector)
    for secret in vector["secrets"]:
        try:
            key = Key(scheme.data, "recorded", secret)
        except ValueError:
            continue  # not a secret of this scheme
        value = scheme.value(scheme.sign(request, key, vector["at"]))
        if set(scheme.items(value)) <= set(scheme.items(scheme.value(request))):
            return True
    return False


class Sender:
    """A sender with a source of its own, which sends a recorded request, signed anew. With `own_secrets`, it keeps the
    secrets of the recorded one."""

    def __init__(self, vector, source, own_secrets=False):
        self.preset, self.source, self.vector = vector["preset"], source, vector
        self.rules = PRESETS[self.preset]
        verify = self.rules["verify"]
        schemes = [] if verify == "none" else [scheme_of(data) for data in listed(verify)]
        request, has_public_key = recorded(vector), bool(vector["public_keys"])
        fitting = [scheme for scheme in schemes if scheme.is_of(request, has_public_key)]
        if len(fitting) > 1:
            # They differ in how they read the secrets.
            fitting = [scheme for scheme in fitting if has_signed(scheme, vector)]
        # Before a handshake there may be nothing to sign with.
        self.scheme = fitting[0] if fitting else None
        self.kind = self.preset, str(self.scheme and self.scheme.data)
        data = (self.scheme or schemes[0]).data if schemes else None
        secrets = (vector["secrets"] if own_secrets else []) or [None, None]
        self.keys = [Key(data, f"{source}/{at}", secret) for at, secret in enumerate(secrets)] if schemes else []

    def settings(self, keys=None, **members):
        """The source in the settings. `keys` says where the keys are, if they are not in the settings themselves."""
        keys = keys or [key.text for key in self.keys]
        lines = [f"[sources.{self.source}]", f'preset = "{self.preset}"']
        if keys:
            members = {"secrets" if self.keys[0].kind == "secret" else "public_keys": keys, **members}
        if self.takes_token():
            members = {"verify_token": self.vector["verify_token"] or VERIFY_TOKEN, **members}
        return "\n".join([*lines, *(f"{name} = {json.dumps(value)}" for name, value in members.items())]) + "\n\n"

    def takes_token(self):
        """Whether the settings need `verify_token`."""
        handshakes = self.rules.get("handshakes", [])
        return any(condition.get("token") for handshake in handshakes for condition in handshake.get("when", []))

    def request(self, key=0, age=0, body=None):
        """A request that was signed by this key, `age` seconds ago."""
        request = recorded(self.vector, self.source)
        request = request if body is None else request.replaced(body=body)
        return self.scheme.sign(request, self.keys[key], time.time() - age) if self.scheme else request

    def webhooks(self, request, times=1):
        """The key and the event type of each webhook that is stored once a request was sent so many times. A key that
        only one request has is none."""
        body = recorded(self.vector).body
        expected = []
        for webhook in self.vector["webhooks"]:
            key, event_type = webhook["key"], webhook["event_type"] or self.source
            if is_of_request(key):
                expected += times * [(None, event_type)]
            else:
                # The body may have a key of the tests.
                expected.append((key.replace(digest(body), digest(request.body)), event_type))
        return expected

    def batch(self):
        """The pointer of the array whose items are the webhooks; none if the request is no batch."""
        split = self.rules.get("split")
        if not isinstance(split, dict):
            return split
        return split["array"] if recorded(self.vector).header("Content-Type") == split["content_type"] else None

    def statuses(self):
        """The statuses that say that a request was accepted."""
        status = self.rules.get("answer", {}).get("accepted")
        return (status,) if status else (200, 202)

    def has_key_of_body(self):
        """Whether the digest of the body, or of an item, is a part of the key."""
        return any(re.search(r"[0-9a-f]{64}", webhook["key"]) for webhook in self.vector["webhooks"])

    def headers_of_key(self):
        """The headers of which the key is made, as far as the recorded request has them."""

        def of(part):
            if isinstance(part, dict):
                return listed(part.get("header", [])) + of(part.get("first", []))
            return [name for item in part for name in of(item)] if isinstance(part, list) else []

        request = recorded(self.vector)
        return [name for name in of(self.rules["key"]) if request.header(name) is not None]

    def keys_of_request(self):
        """How many of the webhooks have no key but the id of their request."""
        return sum(is_of_request(webhook["key"]) for webhook in self.vector["webhooks"])

    def other_body(self):
        """The body with other bytes in each of its webhooks, but with the same names."""
        request = recorded(self.vector)
        if request.is_form():
            return f"{request.body}&OfTheTests=1"
        try:
            body = json.loads(request.body)
        except ValueError:
            return f"{request.body} again"
        for item in listed(found(body, self.batch() or "")):
            item["of_the_tests"] = 1
        return compact(body)


def senders():
    """A sender for each recorded request, but one for those of a scheme that differ in their signatures only."""
    different, count, made = {}, {}, []
    for vector in RECORDED["vectors"]:
        if vector["preset"] in FETCHED:
            continue
        kind = Sender(vector, vector["preset"]).kind, vector["body_base64"], vector["url"]
        different.setdefault(kind, vector)
    for vector in different.values():
        preset = vector["preset"]
        count[preset] = count.get(preset, 0) + 1
        made.append(Sender(vector, f"{preset}-{count[preset]}"))
    return made
