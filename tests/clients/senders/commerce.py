"""Requests of shops, and of senders of payments, mail and calls."""

import sdk
from record import AT, DOCUMENTED, RFC3339, SECRET, based, compact, handshake, hexed, key, sha256, url_of, vector


def payments():
    """Stripe, Square, Paddle, Lemon Squeezy, Coinbase Commerce, Xero and QuickBooks."""
    body = compact({"id": "evt_1", "object": "event", "type": "invoice.paid", "pending_webhooks": 1})
    by, signature = sdk.sign_stripe(body, "whsec_test", AT)
    vector("stripe", by, body, {"Stripe-Signature": signature}, ("evt_1", "invoice.paid"), secrets=["whsec_test"])
    several = f"t={AT},v1={hexed('of another secret')},{signature.split(',')[1]},v0={hexed('of tests')}"
    vector("stripe", by, body, {"Stripe-Signature": several}, ("evt_1", "invoice.paid"), secrets=["new", "whsec_test"])
    thin = compact({"id": "evt_2", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered"})
    by, signature = sdk.sign_stripe(thin, "whsec_test", AT)
    vector("stripe", by, thin, {"Stripe-Signature": signature},
           ("evt_2", "v1.billing.meter.error_report_triggered"), secrets=["whsec_test"])  # fmt: skip

    # The example of the tests of the SDKs; its body has no id.
    sdk.verify_square('{"hello":"world"}', "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og=", "asdf1234",
                      "https://example.com/webhook")  # fmt: skip
    body = compact({"merchant_id": "M1", "type": "payment.updated", "event_id": "6a8f5f28", "data": {}})
    signature = based(url_of("square") + body)
    by = sdk.verify_square(body, signature, SECRET, url_of("square"))
    vector("square", by, body, {"x-square-hmacsha256-signature": signature}, ("6a8f5f28", "payment.updated"))

    body = compact({"event_id": "evt_01", "event_type": "transaction.paid", "notification_id": "ntf_01"})
    signature = f"ts={AT};h1={hexed(f'{AT}:{body}')}"
    by = sdk.verify_paddle(body, signature, SECRET, AT)
    vector("paddle", by, body, {"Paddle-Signature": signature}, ("evt_01", "transaction.paid"))

    body = compact({"meta": {"event_name": "order_created"}, "data": {"type": "orders", "id": "1"}})
    headers = {"X-Event-Name": "order_created", "X-Signature": hexed(body)}
    vector("lemonsqueezy", DOCUMENTED, body, headers, (sha256(body), "order_created"))
    headers["X-Event-Name"] = "order_refunded"
    vector("lemonsqueezy", f"{DOCUMENTED}, with another type in the header", body, headers,
           (sha256(body), "order_created"))  # fmt: skip

    body = compact({"attempt_number": 1, "event": {"id": "24934862", "type": "charge:confirmed"}, "id": 1})
    headers = {"X-CC-Webhook-Signature": hexed(body)}
    vector("coinbase-commerce", DOCUMENTED, body, headers, ("24934862", "charge:confirmed"))

    event = {"resourceId": "717f2bfc", "eventDateUtc": "2026-01-01T00:00:00.000", "eventType": "UPDATE"}
    body = compact({"events": [{**event, "eventCategory": "INVOICE"}], "lastEventSequence": 1, "entropy": "S0m3"})
    name = key("717f2bfc", "UPDATE", "2026-01-01T00:00:00.000")
    vector("xero", DOCUMENTED, body, {"x-xero-signature": based(body)}, (name, "INVOICE.UPDATE"))
    body = compact({"events": [], "firstEventSequence": 0, "lastEventSequence": 0, "entropy": "S0m3"})
    vector("xero", DOCUMENTED, body, {"x-xero-signature": based(body)})

    body = compact([{"specversion": "1.0", "id": "88cd52aa", "type": "qbo.invoice.created.v1"}])
    vector("quickbooks", DOCUMENTED, body, {"intuit-signature": based(body)}, ("88cd52aa", "qbo.invoice.created.v1"))


def shops():
    """Shopify and WooCommerce."""
    body = compact({"id": 820982911946154508, "email": "jon@example.com", "name": "żółw"})
    headers = {
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Shop-Domain": "example.myshopify.com",
        "X-Shopify-Webhook-Id": "b54557e4",
        "X-Shopify-Event-Id": "98880550",
        "X-Shopify-Hmac-Sha256": based(body),
    }
    name = key("98880550", "orders/create", "example.myshopify.com")
    vector("shopify", DOCUMENTED, body, headers, (name, "orders/create"))

    body = compact({"id": 727, "status": "processing"})
    headers = {
        "X-WC-Webhook-Topic": "order.created",
        "X-WC-Webhook-Delivery-ID": "10a1e3b7",
        "X-WC-Webhook-Signature": based(body),
    }
    vector("woocommerce", DOCUMENTED, body, headers, (key("10a1e3b7", sha256(body)), "order.created"))
    handshake("woocommerce", DOCUMENTED, "webhook_id=7", content_type="application/x-www-form-urlencoded")


def mail_and_calls():
    """Twilio, SendGrid, Mailgun, Telnyx, Intercom, HubSpot and Zendesk."""
    # The example of the page "Security" of Twilio.
    url, token, form = "https://mycompany.com/myapp.php?foo=1&bar=2", "12345", "application/x-www-form-urlencoded"
    fields = {"CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "Digits": "1234"}
    fields |= {"From": "+14158675309", "To": "+18005551212"}
    by, signature = sdk.sign_twilio(token, url, fields)
    assert signature == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    body = "&".join(f"{name}={value.replace('+', '%2B')}" for name, value in reversed(fields.items()))
    headers = {"X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": "abc123"}
    vector("twilio", f"twilio.com/docs and {by}", body, headers, ("abc123", None),
           secrets=[token], url=url, content_type=form)  # fmt: skip
    body = compact({"property": "value", "boolean": True})
    url = url_of("twilio", f"?bodySHA256={sha256(body)}")
    by, signature = sdk.sign_twilio(token, url, body)
    headers["X-Twilio-Signature"] = signature
    vector("twilio", by, body, headers, ("abc123", None), secrets=[token], url=url)

    # The example of the tests of the SDKs.
    key_sendgrid = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglS"
        "I8eNEc6wEA3F+g=="
    )
    signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
    body = (
        '[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        '"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        '"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
        '"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
    )
    by = sdk.verify_sendgrid(key_sendgrid, body, signature, "1600112502")
    prefix = "X-Twilio-Email-Event-Webhook"
    vector("sendgrid", by, body, {f"{prefix}-Signature": signature, f"{prefix}-Timestamp": "1600112502"},
           ("ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA", "dropped"),
           secrets=[], public_keys=[key_sendgrid], at=1600112502)  # fmt: skip

    token = "50a5b6e1b9a6e0b7d8c1f3d0"
    signature = {"timestamp": str(AT), "token": token, "signature": hexed(f"{AT}{token}")}
    body = compact({"signature": signature, "event-data": {"id": "ase7i2zsRYeDXztHGENqRA", "event": "delivered"}})
    vector("mailgun", DOCUMENTED, body, {}, ("ase7i2zsRYeDXztHGENqRA", "delivered"))

    # A key made for this; its private half was not kept.
    public_key = "+wN4q3BM4fCs49llRd8PEPiT9Xr2gTA9mBBx2p+YJ3g="
    signature = "eXxAI9P5ohwXKC0LKy+g2Dt9LxNJQpK7F/aehCTjblIWZ2szp818IwytOFR2jtFUvOAbIqjF0b7GIOMhLks5BA=="
    event = {"event_type": "message.received", "id": "b301ed3f-1490-491f-995f-6e64e69674d4"}
    event |= {"occurred_at": "2026-01-01T00:00:00.000+00:00", "payload": {"text": "Hello"}, "record_type": "event"}
    body = compact({"data": event, "meta": {"attempt": 1}})
    headers = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": str(AT)}
    by = sdk.verify_telnyx(body, headers, public_key, AT)
    vector("telnyx", by, body, headers, ("b301ed3f-1490-491f-995f-6e64e69674d4", "message.received"),
           secrets=[], public_keys=[public_key])  # fmt: skip

    body = compact({"type": "notification_event", "id": "notif_1", "topic": "user.created", "delivery_attempts": 1})
    headers = {"X-Hub-Signature": f"sha1={hexed(body, digest='sha1')}"}
    vector("intercom", DOCUMENTED, body, headers, ("notif_1", "user.created"))
    body = compact({"type": "notification_event", "id": None, "topic": "ping"})
    handshake("intercom", DOCUMENTED, body, {"X-Hub-Signature": f"sha1={hexed(body, digest='sha1')}"})

    event = {"eventId": 100, "subscriptionId": 7, "portalId": 62515, "occurredAt": AT * 1000, "attemptNumber": 0}
    body = compact([{**event, "subscriptionType": "contact.creation", "objectId": 123}])
    by, signature = sdk.sign_hubspot(SECRET, body, url_of("hubspot"), str(AT * 1000))
    headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": str(AT * 1000)}
    vector("hubspot", by, body, headers, (key("62515", "7", "100", str(AT * 1000)), "contact.creation"))

    body = compact({"id": "cbe4028c", "type": "zen:event-type:ticket.created", "time": RFC3339})
    headers = {
        "X-Zendesk-Webhook-Invocation-Id": "8350205582",
        "X-Zendesk-Webhook-Signature": based(RFC3339 + body),
        "X-Zendesk-Webhook-Signature-Timestamp": RFC3339,
    }
    vector("zendesk", DOCUMENTED, body, headers, ("8350205582", "zen:event-type:ticket.created"))
