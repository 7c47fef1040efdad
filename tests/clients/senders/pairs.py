"""Keys and certificates of senders. They are computed from a label, so that they are the same each time."""

import base64
import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FIRST_DAY = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)
LAST_DAY = datetime.datetime(2027, 1, 1, tzinfo=datetime.timezone.utc)


def number(label, bits):
    """A number made of a label."""
    return int.from_bytes(hashlib.shake_256(label.encode()).digest(bits // 8), "big")


def is_prime(candidate):
    """Whether a number is probably prime, by Miller and Rabin."""
    bases = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53]
    if any(candidate % base == 0 for base in bases):
        return candidate in bases
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in bases:
        power = pow(base, odd, candidate)
        if power in (1, candidate - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % candidate
            if power == candidate - 1:
                break
        else:
            return False
    return True


def prime(label):
    """A prime of 1024 bits."""
    high = (1 << 1023) | (1 << 1022) | 1
    return next(p for i in range(100_000) if is_prime(p := number(f"{label} {i}", 1024) | high) and (p - 1) % 65537)


def rsa_pair(label):
    """A key of RSA with 2048 bits."""
    p, q, e = prime(f"{label} p"), prime(f"{label} q"), 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *crt, rsa.RSAPublicNumbers(e, p * q)).private_key()


def p256_pair(label):
    """A key of the elliptic curve P-256."""
    return ec.derive_private_key(number(label, 256) % (P256_ORDER - 1) + 1, ec.SECP256R1())


def certificate(pair, name):
    """A certificate in PEM, signed by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, pair.public_key(), 1, FIRST_DAY, LAST_DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(pair, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def sign(pair, text, digest=hashes.SHA256):
    """The signature of a text by RSA, in base64."""
    return base64.b64encode(pair.sign(text.encode(), padding.PKCS1v15(), digest())).decode()


def url_safe(value):
    """Bytes in base64url, without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def jwt(header, claims, signed):
    """A JSON Web Token; `signed` makes the bytes of the signature."""
    text = ".".join(url_safe(part.encode()) for part in (header, claims))
    return f"{text}.{url_safe(signed(text.encode()))}"


def rs256(pair):
    """Signs as RS256 says."""
    return lambda text: pair.sign(text, padding.PKCS1v15(), hashes.SHA256())


def es256(pair):
    """Signs as ES256 says, always in the same way."""
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)

    def signed(text):
        return b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(pair.sign(text, algorithm)))

    return signed


def jwk(pair, key_id):
    """The public key as a JSON Web Key."""
    numbers = pair.public_key().public_numbers()
    if isinstance(pair, rsa.RSAPrivateKey):
        n, e = url_safe(numbers.n.to_bytes(256, "big")), url_safe(numbers.e.to_bytes(3, "big"))
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": n, "e": e}
    x, y = (url_safe(part.to_bytes(32, "big")) for part in (numbers.x, numbers.y))
    return {"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": key_id, "x": x, "y": y}
