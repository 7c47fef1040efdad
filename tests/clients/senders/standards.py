"""Requests of senders that follow Standard Webhooks or CloudEvents, and of clouds."""

import base64
import datetime
import urllib.parse

import sdk
from record import AT, DOCUMENTED, SECRET, WHSEC, based, compact, handshake, key, url_of, vector


def standard_webhooks():
    """Standard Webhooks, Svix, and those that send as they do."""
    moment = datetime.datetime.fromtimestamp(AT, datetime.timezone.utc)
    # The example of the specification.
    body = '{"test": 2432232314}'
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"}
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    published = "the specification of Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks"
    vector("standard-webhooks", published, body, {**headers, "webhook-signature": signature},
           ("msg_p5jXN8AQM9LWM0D4loKWxJek", None), secrets=[WHSEC], at=1614265330)  # fmt: skip

    ours = [
        ("standard-webhooks", "webhook", "invoice.paid", '{"type":"invoice.paid","timestamp":"2026-01-01T00:00:00Z"}'),
        ("gitlab", "webhook", "Push Hook", '{"object_kind":"push","ref":"refs/heads/main"}'),
        ("openai", "webhook", "response.completed", '{"id":"evt_1","object":"event","type":"response.completed"}'),
        ("replicate", "webhook", "succeeded", '{"id":"ufawqhfynnddngldkgtslldrkq","status":"succeeded"}'),
        ("render", "webhook", "deploy_ended", '{"type":"deploy_ended","data":{"id":"evj-1"}}'),
        ("supabase", "webhook", "before-user-created", '{"metadata":{"name":"before-user-created"},"user":{}}'),
        ("svix", "svix", "invoice.paid", '{"type":"invoice.paid","data":{"id":"in_1"}}'),
        ("clerk", "svix", "user.created", '{"type":"user.created","object":"event","data":{"id":"user_1"}}'),
        ("resend", "svix", "email.delivered", '{"type":"email.delivered","data":{"email_id":"1"}}'),
    ]
    for preset, prefix, event_type, body in ours:
        by, signature = sdk.sign_standard_webhooks(prefix, WHSEC, "msg_1", moment, body)
        headers = {f"{prefix}-id": "msg_1", f"{prefix}-timestamp": str(AT), f"{prefix}-signature": signature}
        if preset == "gitlab":
            headers |= {"X-Gitlab-Event": event_type, "Idempotency-Key": "msg_1"}
        by = sdk.verify_standard_webhooks(preset, WHSEC, headers, body) or by
        secret = WHSEC if preset != "supabase" else f"v1,{WHSEC}"
        vector(preset, by, body, headers, ("msg_1", event_type), secrets=[secret])
        # During a rotation, the header has a signature of each secret.
        headers[f"{prefix}-signature"] = f"v1,{based('of another secret')} {signature}"
        vector(preset, by, body, headers, ("msg_1", event_type), secrets=["whsec_b3RoZXI=", secret])

    # Svix can send the headers of Standard Webhooks, too. Whatever is added, the signed id is the key.
    body = '{"type":"invoice.paid","data":{"id":"in_2"}}'
    by, signature = sdk.sign_standard_webhooks("svix", WHSEC, "msg_1", moment, body)
    for preset in ["svix", "clerk", "resend"]:
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(AT), "webhook-signature": signature}
        vector(preset, by, body, headers, ("msg_1", "invoice.paid"), secrets=[WHSEC])
    headers = {"webhook-id": "msg_2", "svix-id": "msg_1", "svix-timestamp": str(AT), "svix-signature": signature}
    vector("svix", by, body, headers, ("msg_1", "invoice.paid"), secrets=[WHSEC])

    by, signature, body = sdk.sign_polar(SECRET, "msg_1", AT)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(AT), "webhook-signature": signature}
    # The secret can also be given in base64.
    for secret in [SECRET, base64.b64encode(SECRET.encode()).decode()]:
        vector("polar", by, body, headers, ("msg_1", "order.paid"), secrets=[secret])

    # A key made for this; its private half was not kept.
    body = '{"type":"invoice.paid","timestamp":"2026-01-01T00:00:00Z","data":{"id":"in_1"}}'
    public_key = "nXz3epLjZhdmgdbfx6tiU6bdYhGK/yKinykoyo6C+L0="
    signature = "ouvdwkTJeJbKd4NZUhHbxVIv8vi9cZmr4ECfXyTWQm7kAoFgNn1gJFJyPemykxR0fNZrXP8qYJe0I5KHDI7sBg=="
    sdk.verify_ed25519(public_key, f"msg_2.{AT}.{body}", signature)
    both = [(preset, prefix) for preset in ("svix", "clerk", "resend") for prefix in ("svix", "webhook")]
    for preset, prefix in [("standard-webhooks", "webhook"), *both]:
        headers = {f"{prefix}-id": "msg_2", f"{prefix}-timestamp": str(AT), f"{prefix}-signature": f"v1a,{signature}"}
        vector(preset, DOCUMENTED, body, headers, ("msg_2", "invoice.paid"),
               secrets=[], public_keys=[f"whpk_{public_key}"])  # fmt: skip


def clouds():
    """CloudEvents, Azure Event Grid and Microsoft Graph."""
    attributes = {"specversion": "1.0", "id": "A234-1234-1234", "source": "/mycontext", "type": "com.example.event"}
    attributes["time"] = datetime.datetime.fromtimestamp(AT, datetime.timezone.utc)
    name = (key("/mycontext", "A234-1234-1234"), "com.example.event")
    unverified = {"secrets": [], "expect": "none"}
    structured = None
    for mode in ["structured", "binary"]:
        by, headers, body = sdk.cloud_event(mode, attributes, {"message": "Hello"})
        vector("cloudevents", by, body, headers, name, content_type=None, **unverified)
        structured = structured or (by, body)
    odd = {**attributes, "source": "/my context/żółw", "id": "100% \"sure\"", "type": "com.example.żółw 1"}
    by, headers, body = sdk.cloud_event("binary", odd, {"message": "Hello again"})
    name_of_odd = (key(odd["source"], odd["id"]), odd["type"])
    vector("cloudevents", by, body, headers, name_of_odd, content_type=None, **unverified)
    # Older releases of the SDK encode every other character; older versions of the specification have double quotes.
    everything = {f"ce-{name}": urllib.parse.quote(odd[name], safe="") for name in ("source", "id", "type")}
    vector("cloudevents", DOCUMENTED, body, {**headers, **everything}, name_of_odd, content_type=None, **unverified)
    quoted = {"ce-id": r'"100% \"sure\""', "ce-type": '"com.example.%C5%BC%C3%B3%C5%82w 1"'}
    vector("cloudevents", DOCUMENTED, body, {**headers, **quoted}, name_of_odd, content_type=None, **unverified)
    by, event = structured
    batch, batches = f"[{event}]", "application/cloudevents-batch+json"
    vector("cloudevents", by, batch, {}, name, content_type=batches, **unverified)
    origin = {"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"}
    allowed = [("WebHook-Allowed-Origin", "eventemitter.example.com"), ("WebHook-Allowed-Rate", "*")]
    handshake("cloudevents", DOCUMENTED, method="OPTIONS", headers=origin, answer_headers=allowed, secrets=[])

    preset = "azure-event-grid-cloudevents"
    token = {"url": url_of(preset, "?token=s3cret"), "secrets": ["s3cret"]}
    vector(preset, by, event, {}, name, content_type="application/cloudevents+json", **token)
    vector(preset, by, batch, {}, name, content_type=batches, **token)
    handshake(preset, DOCUMENTED, method="OPTIONS", headers=origin, answer_headers=allowed, **token)

    token["url"] = url_of("azure-event-grid", "?token=s3cret")
    body = compact([{"id": "831e1650", "eventType": "Microsoft.Storage.BlobCreated", "data": {}}])
    vector("azure-event-grid", DOCUMENTED, body, {"aeg-event-type": "Notification"},
           ("831e1650", "Microsoft.Storage.BlobCreated"), **token)  # fmt: skip
    data = {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
    event_type = "Microsoft.EventGrid.SubscriptionValidationEvent"
    body = compact([{"id": "2d1781af", "eventType": event_type, "data": data}])
    handshake("azure-event-grid", DOCUMENTED, body, {"aeg-event-type": "SubscriptionValidation"},
              answer=compact({"validationResponse": data["validationCode"]}), answer_type="application/json",
              **token)  # fmt: skip

    items = [{"id": "lsgTZMr9", "clientState": SECRET, "changeType": "created"}]
    items.append({"clientState": SECRET, "changeType": "updated"})
    vector("microsoft-graph", DOCUMENTED, compact({"value": items}), {}, ("lsgTZMr9", "created"), ("r1-1", "updated"))
    # A lifecycle notification has no id and no type of a change.
    items = [{"lifecycleEvent": "subscriptionRemoved", "subscriptionId": "7f105c7d", "clientState": SECRET}]
    by_page = f"{DOCUMENTED} (lifecycle notifications)"
    vector("microsoft-graph", by_page, compact({"value": items}), {}, ("r1-0", "subscriptionRemoved"))
    handshake("microsoft-graph", DOCUMENTED, answer="Validation: Testing client application reachability 1",
              url=url_of("microsoft-graph",
                         "?validationToken=Validation%3a+Testing+client+application+reachability+1"))  # fmt: skip
