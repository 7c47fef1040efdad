"""A shop for the pictures of the page: its senders sign webhooks as Shopify, Stripe and GitHub do, and its servers take
what hookbox delivers. Some of them fail, as servers do."""

import http.server
import json
import random
import threading
import time

import harness
from presets import PRESETS
from signer import Key, Request, compact, scheme_of

SOURCES = {"shop": "shopify", "payments": "stripe", "code": "github"}
CATALOGUE = [
    ("MUG-BLUE", "Mug, blue", 14.5),
    ("TEE-BLACK-M", "T-shirt, black, M", 24.9),
    ("POSTER-A2", "Poster A2, harbour", 32.0),
    ("CANDLE-OAK", "Candle, oak", 18.0),
    ("PLANTER-L", "Planter, large", 49.0),
]
CUSTOMERS = ["Jan Kowalski", "Ada Nowak", "Lena Fischer", "Tomás Vidal", "Chloé Martin", "Noah de Vries"]
CITIES = [("Kraków", "PL"), ("Hamburg", "DE"), ("Lyon", "FR"), ("Utrecht", "NL"), ("Valencia", "ES")]
# What makes a server refuse a webhook, or a deployment fail.
DISCONTINUED, BULK, CLOSED_ACCOUNT, BROKEN_BRANCH = "CLOCK-1998", 60, "acct_closed", "checkout-v2"

DEPLOY = f"""\
sleep 1
if grep -q {BROKEN_BRANCH}; then
    sleep 2
    echo 'smoke test failed: GET /healthz answered 502' >&2
    exit 1
fi
echo '{{"released": true}}'
"""


class Target:
    """A server of the shop. `answer` makes a status, a JSON value and the seconds that it takes of each request."""

    def __init__(self, test, answer):
        self.port = harness.free_port()
        self._answer = answer
        self._server = None
        test.addCleanup(self.stop)

    def start(self):
        answer = self._answer

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, value, seconds = answer(self.headers["Hookbox-Event-Type"], body)
                time.sleep(seconds)
                content = compact(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class Shop:
    """The senders, the servers, and hookbox between them."""

    def __init__(self, test):
        self._chance = random.Random(1)
        self._schemes = {source: scheme_of(PRESETS[preset]["verify"]) for source, preset in SOURCES.items()}
        self._keys = {source: Key(scheme.data, source) for source, scheme in self._schemes.items()}
        self._number = 1000
        self.is_carrier_down = False
        # The secret of a source, as a sender has it that still uses the one from before.
        self._old_key = Key(self._schemes["shop"].data, "old")
        self.fulfilment = Target(test, self._fulfil).start()
        self.stock = Target(test, lambda *_: (200, {"reserved": True}, self._seconds(0.012))).start()
        self.ledger = Target(test, self._book).start()
        self.receipts = Target(test, lambda *_: (202, {"queued": True}, self._seconds(0.08))).start()
        self.hookbox = harness.Hookbox(test, self._settings())
        (self.hookbox.folder / "deploy.sh").write_text(DEPLOY)
        self.hookbox.serve()

    def send(self):
        """One webhook of one of the senders."""
        [make] = self._chance.choices([self._order, self._product, self._payment, self._push], [50, 12, 34, 4])
        self._signed(*make()).send(self.hookbox)

    def send_with_old_secret(self):
        self._signed(*self._order(), self._old_key).send(self.hookbox)

    def send_bulk_order(self):
        """An order that the server of the fulfilment fails at, each time."""
        self._signed(*self._order(is_bulk=True)).send(self.hookbox)

    def pause(self, route):
        self.hookbox.send("POST", f"/v1/pause?route={route}")

    def _settings(self):
        sources = "".join(
            f'[sources.{source}]\npreset = "{preset}"\nsecrets = ["{self._keys[source].text}"]\n\n'
            for source, preset in SOURCES.items()
        )

        def http_route(name, target, match, more=""):
            url = f"http://127.0.0.1:{target.port}/{name}"
            return (
                f'[[routes]]\nname = "{name}"\nmatch = {match}\nhandler = "http"\nurl = "{url}"\n'
                f'allow = ["127.0.0.1"]\n{more}\n'
            )

        retries = 'retry = { attempts = 3, base = "3s", cap = "20s" }\n'
        return (
            sources
            + http_route("fulfilment", self.fulfilment, '{ source = "shop", event_type = "orders/*" }', retries)
            + http_route("stock", self.stock, '{ event_type = ["orders/create", "products/*"] }')
            + http_route("ledger", self.ledger, '{ source = "payments" }')
            + http_route("receipts", self.receipts, '{ event_type = "invoice.paid" }')
            + http_route("newsletter", self.stock, '{ event_type = "customers/*" }')
            + '[[routes]]\nname = "deploy"\nmatch = { event_type = "push" }\nhandler = "exec"\n'
            + 'command = ["sh", "deploy.sh"]\nretry = { attempts = 2, base = "5s" }\n'
        )

    def _signed(self, source, headers, body, key=None):
        headers = (("Content-Type", "application/json"), *headers)
        request = Request("POST", f"/v1/sources/{source}/webhooks", "", headers, compact(body))
        return self._schemes[source].sign(request, key or self._keys[source], time.time())

    def _next(self):
        self._number += 1
        return self._number

    def _is(self, share):
        return self._chance.random() < share

    def _seconds(self, median):
        return self._chance.lognormvariate(0, 0.5) * median

    def _shopify(self, topic, body):
        ids = [("X-Shopify-Event-Id", f"{self._chance.getrandbits(48):012x}")]
        return "shop", [("X-Shopify-Topic", topic), ("X-Shopify-Shop-Domain", "harbour.myshopify.com"), *ids], body

    def _order(self, is_bulk=False):
        lines = []
        for sku, title, price in self._chance.sample(CATALOGUE, self._chance.choice([1, 1, 2, 3])):
            lines.append({"sku": sku, "title": title, "quantity": self._chance.choice([1, 1, 2]), "price": price})
        if not is_bulk and self._is(0.004):
            lines[0] |= {"sku": DISCONTINUED, "title": "Wall clock 1998"}
        elif is_bulk or self._is(0.004):
            lines[0]["quantity"] = BULK
        name, (city, country) = self._chance.choice(CUSTOMERS), self._chance.choice(CITIES)
        number, is_new = self._next(), is_bulk or self._is(0.6)
        total = sum(line["quantity"] * line["price"] for line in lines)
        body = {
            "id": 5_820_000_000 + number,
            "name": f"#{number}",
            "currency": "EUR",
            "total_price": f"{total:.2f}",
            "line_items": lines,
            "shipping_address": {"name": name, "city": city, "country_code": country},
        }
        return self._shopify("orders/create" if is_new else "orders/paid", body)

    def _product(self):
        if self._is(0.5):
            return self._shopify("customers/create", {"id": self._next(), "name": self._chance.choice(CUSTOMERS)})
        sku, title, _ = self._chance.choice(CATALOGUE)
        return self._shopify("products/update", {"id": self._next(), "sku": sku, "title": title})

    def _payment(self):
        types = ["payment_intent.succeeded", "invoice.paid", "charge.refunded", "customer.subscription.updated"]
        [event_type] = self._chance.choices(types, [60, 25, 10, 5])
        account = CLOSED_ACCOUNT if event_type == "charge.refunded" and self._is(0.06) else "acct_main"
        data = {"amount": self._chance.randrange(900, 20_000), "currency": "eur"}
        event = {"id": f"evt_{self._chance.getrandbits(64):016x}", "object": "event", "type": event_type}
        return "payments", [], event | {"account": account, "data": {"object": data}}

    def _push(self):
        branch = BROKEN_BRANCH if self._is(0.03) else "main"
        delivery = f"{self._chance.getrandbits(64):016x}"
        headers = [("X-GitHub-Event", "push"), ("X-GitHub-Delivery", delivery)]
        return "code", headers, {"ref": f"refs/heads/{branch}", "repository": {"full_name": "harbour/shop"}}

    def _fulfil(self, _, order):
        lines = order["line_items"]
        if any(line["sku"] == DISCONTINUED for line in lines):
            return 422, {"error": "discontinued", "sku": DISCONTINUED}, self._seconds(0.03)
        if any(line["quantity"] >= BULK for line in lines):
            return 500, {"error": "no carrier found", "order": order["name"]}, self._seconds(0.9)
        if self.is_carrier_down and self._is(0.4):
            return 503, {"error": "the carrier does not answer"}, self._seconds(1.2)
        return 200, {"parcel": order["name"].strip("#")}, self._seconds(0.12)

    def _book(self, _, event):
        if event["account"] == CLOSED_ACCOUNT:
            return 404, {"error": "no such account", "account": CLOSED_ACCOUNT}, self._seconds(0.04)
        return 200, {"booked": True}, self._seconds(0.05)
