"""Makes src/sources/vectors.json: for every preset, requests as its sender signs them.

Where the sender has an SDK that signs or verifies, the SDK signs the request, or verifies it here. One of Amazon SNS is
signed by moto, which stands in for AWS in tests. Some requests are copied as their senders have published them. Others
are signed here as the documentation of the sender says. Nothing is random, and the time is fixed: the file changes only
if this script or a package does.

    python3.11 -m venv target/senders
    target/senders/bin/pip install --only-binary :all: --requirement tests/clients/senders/requirements.txt
    npm install --prefix target/senders @octokit/webhooks-methods@6.0.0 @linear/sdk@98.0.0
    target/senders/bin/python tests/clients/senders target/senders

Members of a vector: `preset`; `by`, what signed, verified or published the request, or the page after which it is
signed here; `secrets`, `public_keys` and `verify_token` of the source; `method`; `url`, the whole public URL;
`headers`; `body_base64`; `at`, when the request comes, in seconds since 1970; `expect`, the verdict; `webhooks`, the
key and the event type of each webhook in it. A handshake has an `answer` instead of the last two. An example is a
published request whose body is no event, so it has no `webhooks`. The id of a request is `r1`. Some have `verify`,
members that the source sets besides those of the preset, and `fetched`, what servers answer that are asked for keys.
"""

import json
import pathlib
import sys

import commerce
import fetched
import published
import record
import signing
import standards
import teamwork

OUTPUT = pathlib.Path(__file__).resolve().parents[3] / "src" / "sources" / "vectors.json"

signing.NODE_FOLDER = sys.argv[1]
for sign in [
    standards.standard_webhooks,
    commerce.payments,
    commerce.shops,
    teamwork.code,
    teamwork.chat,
    commerce.mail_and_calls,
    teamwork.offices,
    standards.clouds,
    fetched.coded,
    published.events,
    published.signatures,
]:
    sign()
found = {"vectors": record.vectors, "handshakes": record.handshakes, "examples": record.examples}
OUTPUT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
print(f"{OUTPUT}: " + ", ".join(f"{len(requests)} {kind}" for kind, requests in found.items()))
