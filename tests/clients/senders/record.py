"""What the requests are made of, and where they are collected."""

import base64
import hashlib
import hmac
import json

from documentation import PAGES

AT = 1767225600  # 2026-01-01T00:00:00Z
RFC3339 = "2026-01-01T00:00:00Z"
SECRET = "a secret of the tests"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # that of the specification of Standard Webhooks
DOCUMENTED = "the documentation of the sender"  # the address of its page takes the place of this

vectors, handshakes, examples = [], [], []


def hexed(body, secret=SECRET, digest="sha256"):
    """The HMAC of a text, in hexadecimal digits."""
    return hmac.new(secret.encode(), body.encode(), digest).hexdigest()


def based(body, secret=SECRET, digest="sha256"):
    """The HMAC of a text, in base64."""
    return base64.b64encode(hmac.new(secret.encode(), body.encode(), digest).digest()).decode()


def key(*parts):
    """An idempotency key of these parts."""
    if len(parts) == 1:
        return parts[0]
    return ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)


def sha256(text):
    """The part `body` of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def compact(value):
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def url_of(preset, query=""):
    """The public URL of a source."""
    return f"https://hooks.example.com/v1/sources/{preset}/webhooks{query}"


def request(preset, by, body, headers, *, at=AT, method="POST", url=None, content_type="application/json", **keys):
    """What vectors, handshakes and examples have in common."""
    headers = dict(headers)
    if body and content_type:
        headers = {"Content-Type": content_type, **headers}
    keys = {"secrets": [SECRET], "public_keys": [], "verify_token": None, **keys}
    return {
        "preset": preset,
        "by": by.replace(DOCUMENTED, f"signed here after {PAGES[preset]}") if DOCUMENTED in by else by,
        **keys,
        "method": method,
        "url": url or url_of(preset),
        "headers": [[name, value] for name, value in headers.items()],
        "body_base64": base64.b64encode(body.encode()).decode(),
        "at": at,
    }


def vector(preset, by, body, headers, *webhooks, expect="verified", **rest):
    """Adds a request with webhooks, each of them a key and an event type."""
    webhooks = [{"key": name, "event_type": event_type} for name, event_type in webhooks]
    vectors.append({**request(preset, by, body, headers, **rest), "expect": expect, "webhooks": webhooks})


def example(preset, by, body, headers, **rest):
    """Adds a request that its sender has published, and whose body is no event: only its signature is checked."""
    examples.append({**request(preset, by, body, headers, **rest), "expect": "verified"})


def handshake(
    preset, by, body="", headers=(), *, status=200, answer="", answer_type=None, answer_headers=(), visit=None, **rest
):
    """Adds a request that is answered without storing anything."""
    answer = {
        "status": status,
        "content_type": answer_type or ("text/plain; charset=utf-8" if answer else None),
        "headers": [list(header) for header in answer_headers],
        "body": answer,
    }
    if visit:
        answer["visit"] = visit
    handshakes.append({**request(preset, by, body, dict(headers), **rest), "answer": answer})
