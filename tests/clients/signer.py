"""Signs requests as a scheme of src/sources/presets.toml says that its sender does, with keys and times of the
tests."""

import base64
import dataclasses
import datetime
import hashlib
import hmac
import json
import re
import urllib.parse

from Adyen.util import generate_notification_sig
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

PUBLIC_URL = "https://hooks.example.com"
DEFAULT_TOLERANCE = 300
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
FORM = "application/x-www-form-urlencoded"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request to a source. Bodies are texts: those of all vectors are."""

    method: str
    path: str
    query: str
    headers: tuple
    body: str
    origin: str = PUBLIC_URL  # what the URL of the sender begins with

    def send(self, hookbox):
        target = self.path + (f"?{self.query}" if self.query else "")
        return hookbox.send(self.method, target, self.headers, self.body.encode())

    def header(self, name):
        """The value of a header; none if it is not there."""
        return next((value for other, value in self.headers if other.lower() == name.lower()), None)

    def without(self, *names):
        names = [name.lower() for name in names]
        return self.replaced(headers=[header for header in self.headers if header[0].lower() not in names])

    def with_header(self, name, *values):
        """The request with these values of a header, in the place of those that it has."""
        return self.replaced(headers=[*self.without(name).headers, *((name, value) for value in values)])

    def parameter(self, name):
        return dict(urllib.parse.parse_qsl(self.query)).get(name)

    def with_parameter(self, name, value):
        parameters = {**dict(urllib.parse.parse_qsl(self.query)), name: value}
        return self.replaced(query=urllib.parse.urlencode(parameters))

    def is_form(self):
        return self.header("Content-Type") == FORM

    def json(self, pointer):
        """The value in the body that a pointer names; none if there is none."""
        try:
            return found(json.loads(self.body), pointer)
        except ValueError:
            return None

    def with_json(self, pointer, value):
        """The request with another value in the body; without the member, if the value is none."""
        if not pointer:
            return self.replaced(body=compact(value))
        body = json.loads(self.body)
        above, _, name = pointer.rpartition("/")
        members = found(body, above)
        members.pop(name, None)
        if value is not None:
            members[name] = value
        return self.replaced(body=compact(body))

    def replaced(self, **changes):
        if "headers" in changes:
            changes["headers"] = tuple(map(tuple, changes["headers"]))
        return dataclasses.replace(self, **changes)


def found(value, pointer):
    """The value that a JSON pointer names; none if there is none."""
    for member in pointer.split("/")[1:]:
        if isinstance(value, list):
            value = value[int(member)] if member.isdigit() and int(member) < len(value) else None
        else:
            value = value.get(member.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return value


def compact(value):
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def listed(value):
    """One or several values as a list."""
    return value if isinstance(value, list) else [value]


def other(character):
    """Another character, which a header and a body may have as well."""
    return "A" if character != "A" else "B"


def changed(text, at):
    """The text with another character at this place."""
    return text[:at] + other(text[at]) + text[at + 1 :]


class Key:
    """A key of a scheme: how the settings have it, and what signs with it. A new one depends on its name alone."""

    def __init__(self, scheme, name, secret=None):
        seed, encoding = hashlib.sha256(name.encode()).digest(), scheme.get("key_encoding", "text")
        based = base64.b64encode(seed).decode()
        self.kind = scheme.get("signature", "secret")
        if self.kind == "secret":
            forms = {"text": f"key-{seed.hex()}", "base64": based, "whsec": f"whsec_{based}", "hex": seed.hex()}
            new = f"user:{seed.hex()}" if scheme.get("token") == "basic" else forms[encoding]
            self.text = secret or new
            self.bytes = self._decoded(encoding)
        elif self.kind == "ed25519":
            self.private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
            raw = self.private.public_key().public_bytes_raw()
            whsec = f"whpk_{base64.b64encode(raw).decode()}"
            self.text = {"hex": raw.hex(), "whsec": whsec}.get(encoding, base64.b64encode(raw).decode())
        elif self.kind == "ecdsa-p256":
            self.private = ec.derive_private_key(int.from_bytes(seed, "big") >> 1, ec.SECP256R1())
            form = serialization.PublicFormat.SubjectPublicKeyInfo
            der = self.private.public_key().public_bytes(serialization.Encoding.DER, form)
            self.text = base64.b64encode(der).decode()
        else:
            raise AssertionError(f"the tests cannot sign by {self.kind}: teach it to tests/clients/signer.py")

    def _decoded(self, encoding):
        if encoding == "text":
            return self.text.encode()
        return bytes.fromhex(self.text) if encoding == "hex" else base64.b64decode(self.text.split("whsec_")[-1])

    def sign(self, hash_name, text):
        """The signature of a text, as bytes."""
        if self.kind == "secret":
            return hmac.new(self.bytes, text, hash_name).digest()
        if self.kind == "ed25519":
            return self.private.sign(text)
        return self.private.sign(text, ec.ECDSA(hashes.SHA256()))


class Scheme:
    """A scheme of a preset that is described by data, as its sender sees it."""

    def __init__(self, data):
        self.data = data
        self.is_token = "token" in data
        kinds = [kind for kind in ("header", "query", "form", "json") if kind in data]
        self.kind = kinds[0] if kinds else "header"
        self.names = listed(data.get(self.kind, "Authorization"))
        self.prefix, self.separator = data.get("prefix", ""), data.get("separator")
        self.signed = data.get("signed", "{body}")
        self.time = data.get("timestamp")

    def tolerance(self):
        """In seconds."""
        number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", self.data.get("tolerance", f"{DEFAULT_TOLERANCE}s")).groups()
        return int(number) * UNITS[unit]

    def is_timed(self):
        """Whether a request counts for some time only."""
        return self.time is not None

    def lifetime(self, request):
        """How long a request counts before its tolerance begins, in seconds."""
        return 0

    def time_header(self):
        """The header with the time; none if it is elsewhere, or nowhere."""
        return self.time.get("header") if self.time else None

    def covers_body(self):
        covers = "{body}" in self.signed or "{form_sorted}" in self.signed or "body_sha256" in self.data
        return not self.is_token and covers and self.data.get("covers_body", True)

    def is_of(self, request, has_public_key):
        """Whether this scheme signed a request."""
        values = (self.read(request, name) for name in self.names)
        items = [item.strip() for value in values if value for item in self.items(value)]
        digest = self.data.get("body_sha256", {}).get("query")
        return (
            any(item.startswith(self.prefix) for item in items)
            and has_public_key == ("signature" in self.data)
            and ("{form_sorted}" not in self.signed or request.is_form())
            and (digest is None or request.parameter(digest) is not None)
        )

    def items(self, value):
        return value.split(self.separator) if self.separator else [value]

    def sign(self, request, key, seconds):
        """The request, signed by this key at this time."""
        request = self.unsigned(request)
        if self.is_token:
            basic = f"Basic {base64.b64encode(key.text.encode()).decode()}"
            return self.with_value(request, basic if self.data["token"] == "basic" else self.prefix + key.text)
        moment, request = self._with_time(request, seconds)
        if "body_sha256" in self.data:
            digest = hashlib.sha256(request.body.encode()).hexdigest()
            request = request.with_parameter(self.data["body_sha256"]["query"], digest)
        signature = key.sign(self.data.get("hmac"), self._text(request, moment).encode())
        encode = {"hex": bytes.hex, "base64": lambda tag: base64.b64encode(tag).decode()}
        item = self.prefix + encode[self.data.get("encoding", "hex")](signature)
        if self.time and "item" in self.time:
            item = f"{self.time['item']}{moment}{self.separator}{item}"
        return self.with_value(request, item)

    def unsigned(self, request):
        """The request without what the scheme reads."""
        if self.kind == "header":
            return request.without(*self.names)
        if self.kind == "query":
            rest = [pair for pair in urllib.parse.parse_qsl(request.query) if pair[0] not in self.names]
            return request.replaced(query=urllib.parse.urlencode(rest))
        return self.with_value(request, None)

    def with_value(self, request, value):
        """The request with another value where the scheme looks for it; without any, if it is none and in the body."""
        name = self.names[0]
        if self.kind == "header":
            return request.with_header(name, value)
        if self.kind == "query":
            return request.with_parameter(name, value)
        if "each" in self.data:
            for at in range(len(request.json(self.data["each"]))):
                request = request.with_json(f"{self.data['each']}/{at}{name}", value)
            return request
        return request.with_json(name, value)

    def value(self, request):
        """The value where the scheme looks for it; of several items, that of the first."""
        return self.read(request, self.names[0])

    def read(self, request, name):
        """The value at a place of this name."""
        if "each" in self.data:
            name = f"{self.data['each']}/0{name}"
        read = {"header": request.header, "query": request.parameter, "json": request.json}
        return read[self.kind](name)

    def _with_time(self, request, seconds):
        """The time as the sender writes it, and the request with it, if it has a place of its own."""
        if not self.time:
            return None, request
        header = self.time_header()
        unit = self.time.get("unit", "s")
        if unit == "rfc3339":
            moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
            text = f"{moment:%Y-%m-%dT%H:%M:%S}"
            # With as many digits of the second as the sender writes.
            text += request.header(header)[len(text) :]
        else:
            text = str(int(seconds / UNITS[unit]))
        if header:
            return text, request.with_header(header, text)
        if "json" in self.time:
            value = int(text) if isinstance(request.json(self.time["json"]), int) else text
            return text, request.with_json(self.time["json"], value)
        return text, request

    def _text(self, request, moment):
        """What the sender signs."""

        def piece(match):
            kind, _, name = match[1].partition(":")
            if kind == "form_sorted":
                return "".join(name + value for name, value in sorted(set(urllib.parse.parse_qsl(request.body, True))))
            pieces = {
                "body": lambda: request.body,
                "timestamp": lambda: moment,
                "method": lambda: request.method,
                "url": lambda: f"{request.origin}{request.path}" + (f"?{request.query}" if request.query else ""),
                "body_sha256": lambda: hashlib.sha256(request.body.encode()).hexdigest(),
                "header": lambda: request.header(name),
                "query": lambda: request.parameter(name),
                "json": lambda: request.json(name),
            }
            return str(pieces[kind]())

        return re.sub(r"\{([^}]*)\}", piece, self.signed)


class Adyen(Scheme):
    """Each item of a batch has its own signature, of some of its members."""

    def __init__(self, _):
        place = {"each": "/notificationItems", "json": "/NotificationRequestItem/additionalData/hmacSignature"}
        super().__init__({"hmac": "sha256", "key_encoding": "hex", "covers_body": False, **place})

    def sign(self, request, key, seconds):
        request = self.unsigned(request)
        for at, item in enumerate(request.json(self.data["each"])):
            signature = generate_notification_sig(item["NotificationRequestItem"], key.text).decode()
            request = request.with_json(f"{self.data['each']}/{at}{self.names[0]}", signature)
        return request


class Hook0(Scheme):
    """The scheme of Coinbase CDP. The signature names the headers that it covers."""

    def __init__(self, _):
        place = {"header": "X-Hook0-Signature", "separator": ",", "prefix": "v1=", "timestamp": {"item": "t="}}
        super().__init__({"hmac": "sha256", **place})

    def sign(self, request, key, seconds):
        items = [item.strip().partition("=") for item in self.items(self.value(request))]
        names = next(value for kind, _, value in items if kind == "h")
        values = ".".join(request.header(name) for name in names.split(" "))
        signature = key.sign("sha256", f"{int(seconds)}.{names}.{values}.{request.body}".encode()).hex()
        return self.with_value(request, f"t={int(seconds)},h={names},v1={signature}")


class Jwt(Scheme):
    """A JSON Web Token of HS256. It keeps its header and its claims, but for their times."""

    def is_timed(self):
        return True

    def lifetime(self, request):
        claims = self._claims(request)
        return claims["exp"] - claims["iat"]

    def sign(self, request, key, seconds):
        header, claims = self._parts(request)[0], self._claims(request)
        later = int(seconds) - claims["iat"]
        claims |= {name: claims[name] + later for name in ("iat", "exp")}
        signed = f"{header}.{url_safe(compact(claims).encode())}"
        return self.with_value(request, f"{self.prefix}{signed}.{url_safe(key.sign('sha256', signed.encode()))}")

    def _parts(self, request):
        return self.value(request).removeprefix(self.prefix).split(".")

    def _claims(self, request):
        claims = self._parts(request)[1]
        return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))


def url_safe(value):
    """Bytes in base64url, without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def scheme_of(data):
    """The scheme that a member `verify` describes, or names."""
    described = Jwt if "jwt" in data else Scheme
    return {"adyen": Adyen, "hook0": Hook0}.get(data.get("scheme"), described)(data)
