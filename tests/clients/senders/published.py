"""Requests that senders have published: on a page, or in the tests of their open-source packages. They are copied, and
not signed here. The folder `copied` has the longer ones."""

import pathlib

from fetched import answer
from record import example, key, vector

FOLDER = pathlib.Path(__file__).resolve().parent / "copied"


def text_of(name):
    """A file of the folder."""
    return (FOLDER / name).read_bytes().decode()


def events():
    """Events, with the key and the event type of each."""
    by = "https://github.com/Shopify/shopify-app-js, packages/apps/shopify-api/lib/webhooks/__tests__/validate.test.ts"
    headers = {
        "X-Shopify-API-Version": "2023-01",
        "X-Shopify-Shop-Domain": "shop1.myshopify.io",
        "X-Shopify-Hmac-Sha256": "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g=",
        "X-Shopify-Topic": "products/create",
        "X-Shopify-Webhook-Id": "123456789",
    }
    name = key("123456789", "products/create", "shop1.myshopify.io")
    vector("shopify", by, '{"foo": "bar"}', headers, (name, "products/create"), secrets=["test_secret_key"])

    by = "https://github.com/coinbase/coinbase-commerce-node, test/testWebhook.spec.js"
    signature = "8be7742c7d372f08a6a3224edadf18a22b65fa9e28f3f2de97376cdaa092590d"
    vector("coinbase-commerce", by, text_of("coinbase-commerce.json"), {"X-CC-Webhook-Signature": signature},
           ("24934862-d980-46cb-9402-43c81b0cdba6", "charge:created"),
           secrets=["30291a20-0bd1-4267-9b0f-e6e7b123c0bf"])  # fmt: skip

    by = "https://github.com/PagerDuty/go-pagerduty, webhookv3/webhookv3_test.go"
    signature = "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd"
    vector("pagerduty", by, text_of("pagerduty.json"), {"X-PagerDuty-Signature": signature},
           ("01BWDWL3NYY7LUFPZCC28QUCMK", "incident.priority_updated"),
           secrets=["lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK"])  # fmt: skip

    # The time and the certificate are those of 2015.
    by = (
        "https://github.com/paypal/PayPal-Python-SDK, test/unit_tests/notifications_test.py, "
        "and https://github.com/paypal/PayPal-node-SDK, test/mocks/notification.js, for the certificate"
    )
    url = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"
    signature = (
        "thy4/U002quzxFavHPwbfJGcc46E8rc5jzgyeafWm5mICTBdY/8rl7WJpn8JA0GKA+oDTPsSruqusw+XXg5RLAP7ip53Euh9Xu3UbUhQFX7U"
        "gwzE2FeYoY6lyRMiiiQLzy9BvHfIzNIVhPad4KnC339dr6y2l+mN8ALgI4GCdIh3/SoJO5wE64Bh/ueWtt8EVuvsvXfda2Le5a2TrOI9vLEz"
        "sm9GS79hAR/5oLexNz8UiZr045Mr5ObroH4w4oNfmkTaDk9Rj0G19uvISs5QzgmBpauKr7Nw++JI0pr/v5mFctQkoWJSGfBGzPRXawrvIIVH"
        "Q9Wer48GR2g9ZiApWg=="
    )
    headers = {
        "PAYPAL-TRANSMISSION-ID": "dfb3be50-fd74-11e4-8bf3-77339302725b",
        "PAYPAL-TRANSMISSION-TIME": "2015-05-18T15:45:13Z",
        "PAYPAL-TRANSMISSION-SIG": signature,
        "PAYPAL-CERT-URL": url,
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
    }
    vector("paypal", by, text_of("paypal.json"), headers,
           ("WH-0G2756385H040842W-5Y612302CV158622M", "PAYMENT.SALE.COMPLETED"), secrets=[], at=1431963913,
           verify={"webhook_id": "4JH86294D6297924G"}, fetched=[answer(url, text_of("paypal.pem"))])  # fmt: skip

    by, at = "https://github.com/hook0/hook0, clients/conformance/signature.json", 1800000000
    code = "19a6fb8f6581715b241a93af02a58611c3b0ac7b747a8d2a5b120ee418d0c347"
    other = "bf5f4e5fe0c9143510ae192f983316a09ed392d0104d2ce0faa3d7bce3687acb"
    for signature in [
        f"t={at},h=x-event-id x-delivery-id,v1={code}",
        f"t={at},h=x-event-id x-delivery-id,v0={other},v1={code}",
        f"t={at},h=x-delivery-id x-event-id,v1={other}",
    ]:
        headers = {"x-event-id": "evt-1", "x-delivery-id": "dlv-1", "X-Hook0-Signature": signature}
        vector("coinbase-cdp", by, '{"event":"user.created"}', headers, ("evt-1", None),
               secrets=["a-subscription-secret"], at=at)  # fmt: skip

    body = (
        '{\n "event_type": "FILE_UPDATE",\n "file_key": "CL06nJNn5eZLQKDoARMND5",\n'
        ' "file_name": "Developer page mockup demo",\n "passcode": "secretpasscode",\n'
        ' "timestamp": "2020-02-23T20:27:16Z",\n "webhook_id": "22"\n }'
    )
    name = key("22", "2020-02-23T20:27:16Z", "FILE_UPDATE", "CL06nJNn5eZLQKDoARMND5")
    vector("figma", "https://www.figma.com/developers/api#webhooks-v2-payloads", body, {}, (name, "FILE_UPDATE"),
           secrets=["secretpasscode"])  # fmt: skip

    by = "https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks"
    vector("microsoft-graph", by, text_of("microsoft-graph.json"), {}, ("lsgTZMr9KwAAA", "created"),
           secrets=["secretClientValue"])  # fmt: skip


def signatures():
    """Signatures of bodies that are no events."""
    # Both pages have the same example.
    signature = {"X-Hub-Signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"}
    for preset, by in [
        ("bitbucket", "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/"),
        ("jira", "https://developer.atlassian.com/cloud/jira/platform/webhooks/"),
    ]:
        example(preset, by, "Hello World!", signature, secrets=["It's a Secret to Everybody"], content_type=None)

    token = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"
    signature = "sha256=461e8cbcba8a75c3edd866f0e71280f5a85cbf21eff040ebd10fe266df38a735"
    example("notion", "https://developers.notion.com/reference/webhooks", f'{{"verification_token":"{token}"}}',
            {"X-Notion-Signature": signature}, secrets=[token])  # fmt: skip

    by = "https://github.com/WhatsApp/WhatsApp-Nodejs-SDK, src/__tests__/utils.test.ts"
    signature = "sha256=0c61947b610d4f45e65f3d680e26027121ec2413e77598bcb6cfc6e0d9888221"
    example("whatsapp", by, "test", {"X-Hub-Signature-256": signature}, secrets=["TEST_APP_SECRET"],
            verify_token="t0ken", content_type=None)  # fmt: skip

    # The form of events before they were CloudEvents.
    by = (
        "https://github.com/intuit/QuickBooks-V3-Java-SDK, "
        "ipp-v3-java-devkit/src/test/java/com/intuit/ipp/services/WebhooksServiceTest.java"
    )
    body = (
        '{"eventNotifications":[{"realmId":"1185883450","dataChangeEvent":{"entities":[{"name":"Customer","id":"1",'
        '"operation":"Create","lastUpdated":"2015-10-05T14:42:19-0700"}]}}]}'
    )
    example("quickbooks", by, body, {"intuit-signature": "JC2GUwciPmRBwEO7WvrRmKqu9tGOKL8FFallocTFi8Q="},
            secrets=["b5771f19b12ddb4bcdb9f08bdc50bc63878a"])  # fmt: skip

    by, form = "https://github.com/twitterdev/autohook, test/signature.js", "application/x-www-form-urlencoded"
    for body, signature, content_type in [
        ("test=1&other_test=2", "25Cu3iwbbiqBTwQRzcKJZwisjf736V2Q8UaTlkfLSoc=", form),
        ('{"test_number":1,"test_string":"two"}', "YWHphPn/JFq43jkF0y4/w8R/SelmLjvpunhVFY8JhlI=", "application/json"),
    ]:
        example("x", by, body, {"X-Twitter-Webhooks-Signature": f"sha256={signature}"}, secrets=["test"],
                content_type=content_type)  # fmt: skip

    # Mailgun signs these two values, and the page shows the members that they are in.
    by = "https://github.com/mailgun/mailgun-php, tests/Api/WebhookTest.php"
    body = (
        '{"signature":{"timestamp":"1403645220","token":"5egbgr1vjgqxtrnp65xfznchgdccwh5d6i09vijqi3whgowmn6",'
        '"signature":"9cfc5c41582e51246e73c88d34db3af0a3a2692a76fbab81492842f000256d33"}}'
    )
    example("mailgun", by, body, {}, secrets=["key-3ax6xnjp29jd6fds4gc373sgvjxteol0"], at=1403645220)
