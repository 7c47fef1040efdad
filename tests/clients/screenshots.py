"""Takes the pictures of docs/screenshots from a real run: a shop sends webhooks for some minutes, an hour unless an
argument says otherwise, because that is what the charts of the page show. They are replaced if all of it went well."""

import datetime
import math
import os
import pathlib
import random
import shutil
import sys
import time
import unittest

import harness
from browser import in_browser
from shop import Shop

PICTURES = harness.ROOT / "docs" / "screenshots"
# Of all pictures together: a page with them has to load on a phone.
MAX_BYTES = 300_000
MINUTES = 60

# When something happens, as a share of the run.
CARRIER_DOWN = (0.40, 0.44)
SALE = (0.62, 0.70)
OLD_SECRET, PAUSE, RECEIPTS_DOWN, BULK_ORDER = 0.88, 0.90, 0.92, 0.96


class Screenshots(harness.TestCase):
    minutes = MINUTES

    def test_pictures_of_a_real_run(self):
        os.environ["HOOKBOX_BIN"] = str(self.apart(os.environ["HOOKBOX_BIN"]))
        shop = Shop(self)
        self.trade(shop)
        harness.eventually("an open breaker", lambda: self.is_open(shop.hookbox), 600)
        taken = harness.folder(self)
        given = {"PICTURES": str(taken), "MAX_BYTES": str(MAX_BYTES), "WEBHOOK": self.failed(shop.hookbox)}
        in_browser(self, "screenshots.mjs", shop.hookbox, **given)
        shutil.rmtree(PICTURES, ignore_errors=True)
        shutil.copytree(taken, PICTURES)
        print(f"{sum(picture.stat().st_size for picture in PICTURES.iterdir()):,} bytes of pictures")

    def apart(self, program):
        """A program that serves as in a container: the page shows the name of the host and the id of the process."""
        path = harness.folder(self) / "hookbox"
        namespaces = "--user --map-root-user --uts --pid --fork --kill-child"
        path.write_text(f"""#!/bin/sh
exec unshare {namespaces} sh -c 'hostname shop && exec "$@"' sh {program} "$@"
""")
        path.chmod(0o755)
        return path

    def trade(self, shop):
        """The traffic of all these minutes."""
        chance, begin, seconds = random.Random(2), time.monotonic(), self.minutes * 60
        due = [
            (PAUSE, lambda: shop.pause("newsletter")),
            (RECEIPTS_DOWN, shop.receipts.stop),
            (BULK_ORDER, shop.send_bulk_order),
        ]
        share = 0
        while share < 1:
            share = (time.monotonic() - begin) / seconds
            shop.is_carrier_down = CARRIER_DOWN[0] < share < CARRIER_DOWN[1]
            while due and share > due[0][0]:
                due.pop(0)[1]()
            if share > OLD_SECRET and chance.random() < 0.03:
                shop.send_with_old_secret()
            shop.send()
            rate = 1.6 + 0.6 * math.sin(share * 4 * math.pi)
            time.sleep(chance.expovariate(rate * (2.5 if SALE[0] < share < SALE[1] else 1)))

    def is_open(self, hookbox):
        """Whether the breaker stays open for as long as the pictures take."""
        [route] = [route for route in hookbox.get("/v1/routes")["routes"] if route["route"] == "receipts"]
        until = route["breaker"]["open_until"]
        return until and datetime.datetime.fromisoformat(until).timestamp() > time.time() + 30

    def failed(self, hookbox):
        """The id of the latest new order that all attempts failed for."""
        filters = "status=dead_lettered&route=fulfilment&event_type=orders/create&error_contains=500"
        return hookbox.get(f"/v1/webhooks?{filters}")["webhooks"][0]["id"]


if __name__ == "__main__":
    if sys.argv[1:]:
        Screenshots.minutes = float(sys.argv.pop())
    unittest.main()
