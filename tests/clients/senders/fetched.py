"""Requests of senders whose schemes are code. For most of them, a server has the key; a vector has what it answers."""

import base64
import hmac
import zlib

import pairs
import sdk
from cryptography.hazmat.primitives import hashes, serialization
from record import AT, DOCUMENTED, RFC3339, SECRET, compact, handshake, hexed, key, sha256, url_of, vector


def answer(url, body, question=None):
    """What a server answers that is asked for a key."""
    return {"url": url, "question": question, "answer_base64": base64.b64encode(body.encode()).decode()}


def sns():
    """Amazon SNS."""
    pair = pairs.rsa_pair("aws-sns")

    def certificate(region="eu-central-1", end="", name="sns.amazonaws.com"):
        url = f"https://sns.{region}.amazonaws.com{end}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
        return answer(url, pairs.certificate(pair, name))

    def message(version, fetched, **members):
        """The body of a message."""
        signed = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{name}\n{members[name]}\n" for name in signed if name in members)
        signature = pairs.sign(pair, text, {"1": hashes.SHA1, "2": hashes.SHA256}[version])
        rest = {"SignatureVersion": version, "Signature": signature, "SigningCertURL": fetched["url"]}
        return compact({**members, **rest})

    def told(topics, fetched):
        return {
            "secrets": [],
            "content_type": "text/plain; charset=UTF-8",
            "verify": {"topics": topics},
            "fetched": [fetched],
        }

    topic, id = "arn:aws:sns:eu-central-1:123456789012:orders", "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    common = {"MessageId": id, "TopicArn": topic, "Timestamp": "2026-01-01T00:00:00.000Z"}
    headers, fetched = {"x-amz-sns-message-type": "Notification", "x-amz-sns-message-id": id}, certificate()
    for version, members in [
        ("1", {"Subject": "An order", "Message": '{"order":"ORD-1",\n"name":"żółw"}'}),
        ("2", {"Message": "No subject"}),
    ]:
        body = message(version, fetched, Type="Notification", **common, **members)
        vector("aws-sns", DOCUMENTED, body, headers, (id, "Notification"), **told(topic, fetched))
    vector("aws-sns", DOCUMENTED, body, headers, (id, "Notification"), **told(["*"], fetched))
    others = ["arn:aws:sns:eu-central-1:123456789012:other"]
    told_others = told(others, fetched)
    vector("aws-sns", DOCUMENTED, body, headers, (id, "Notification"), expect="credentials_wrong", **told_others)
    vector("aws-sns", DOCUMENTED, body, headers, (id, "Notification"), **told([*others, topic], fetched))

    china = "arn:aws-cn:sns:cn-north-1:123456789012:orders.fifo"
    fetched = certificate("cn-north-1", ".cn", "sns-cn-north-1.amazonaws.com.cn")
    body = message("2", fetched, Type="Notification", Message="", **{**common, "TopicArn": china})
    vector("aws-sns", DOCUMENTED, body, headers, (id, "Notification"), **told(china, fetched))

    fetched, token = certificate(), "2336412f37fb687f5d51e6e241d09c80"
    url = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}"
    more = {"Message": "You have chosen to subscribe.\nVisit the URL.", "Token": token, "SubscribeURL": url}
    body = message("2", fetched, Type="UnsubscribeConfirmation", **common, **more)
    vector("aws-sns", DOCUMENTED, body, headers, (id, "UnsubscribeConfirmation"), **told(topic, fetched))
    for version in ["1", "2"]:
        body = message(version, fetched, Type="SubscriptionConfirmation", **common, **more)
        handshake("aws-sns", DOCUMENTED, body, headers, visit=url, **told(topic, fetched))

    by, headers, body, id, url, pem = sdk.publish_sns(pair, topic, '{"order":"ORD-1",\n"name":"żółw"}', AT)
    vector("aws-sns", by, body, headers, (id, "Notification"), **told(topic, answer(url, pem)))


def paypal():
    """PayPal."""
    pair, id = pairs.rsa_pair("paypal"), "db5f8fc0-2c29-11ee-9ac1-4d3d6b1a0c2e"
    event = {"id": "WH-2WR32451HC0233532", "event_type": "PAYMENT.CAPTURE.COMPLETED", "summary": "Zażółć"}

    def send(host, webhook_id, ids, event=event):
        body = compact(event)
        url = f"https://{host}.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-0123abcd"
        headers = {
            "PAYPAL-TRANSMISSION-ID": id,
            "PAYPAL-TRANSMISSION-TIME": RFC3339,
            "PAYPAL-TRANSMISSION-SIG": pairs.sign(pair, f"{id}|{RFC3339}|{webhook_id}|{zlib.crc32(body.encode())}"),
            "PAYPAL-CERT-URL": url,
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        }
        # The certificates of authorities follow.
        pem = pairs.certificate(pair, "messageverificationcerts.paypal.com")
        fetched = [answer(url, pem + pairs.certificate(pairs.rsa_pair("authority"), "authority"))]
        vector("paypal", DOCUMENTED, body, headers, ("WH-2WR32451HC0233532", "PAYMENT.CAPTURE.COMPLETED"),
               secrets=[], verify={"webhook_id": ids}, fetched=fetched)  # fmt: skip

    send("api", "8PT597110X687430LKGECATA", "8PT597110X687430LKGECATA")
    send("api-m.sandbox", "2JE4291016473214C", ["1JE4291016473214C", "2JE4291016473214C"])
    # A retry with other bytes.
    send("api", "8PT597110X687430LKGECATA", "8PT597110X687430LKGECATA", {**event, "summary": "Zażółć again"})


def google():
    """Google Cloud Pub/Sub."""
    old, pair = pairs.rsa_pair("google old"), pairs.rsa_pair("google")
    keys = compact({"keys": [pairs.jwk(old, "0ld"), pairs.jwk(pair, "7d680d8c70d44e947133cbd499ebc1a61c3d5abc")]})
    url, email = "https://hooks.example.com/v1/sources/google-pubsub/webhooks", "push@project.iam.gserviceaccount.com"
    body = compact({
        "message": {"data": "SGVsbG8=", "messageId": "2070443601311540", "publishTime": RFC3339},
        "subscription": "projects/project/subscriptions/orders",
    })  # fmt: skip
    name = key("projects/project/subscriptions/orders", "2070443601311540")
    genuine = {"aud": url, "azp": "1", "email": email, "sub": "1", "email_verified": True}
    genuine |= {"exp": AT + 3000, "iat": AT - 600, "iss": "https://accounts.google.com"}
    header = {"alg": "RS256", "kid": "7d680d8c70d44e947133cbd499ebc1a61c3d5abc", "typ": "JWT"}
    pem = pair.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def push(expect="verified", claims=None, header_claims=None, signed=None, by=DOCUMENTED, body=body, event_type=None):
        parts = compact({**header, **(header_claims or {})}), compact({**genuine, **(claims or {})})
        token = pairs.jwt(*parts, signed or pairs.rs256(pair))
        if expect == "verified":
            by = sdk.verify_google(token, {header["kid"]: pem, "0ld": pem}, url, AT)
        fetched = [answer("https://www.googleapis.com/oauth2/v3/certs", keys)]
        vector("google-pubsub", by, body, {"Authorization": f"Bearer {token}"}, (name, event_type), expect=expect,
               secrets=[], verify={"audience": url, "email": email}, fetched=fetched)  # fmt: skip

    push()
    push(claims={"iss": "accounts.google.com"})
    for attribute, event_type in [("eventType", "OBJECT_FINALIZE"), ("ce-type", "com.example.event"), ("type", "t")]:
        message = {"attributes": {attribute: event_type, "other": "1"}, "data": "", "messageId": "2070443601311540"}
        with_type = compact({"message": message, "subscription": "projects/project/subscriptions/orders"})
        push(body=with_type, event_type=event_type)
    push("credentials_wrong", {"iss": "https://accounts.google.com.evil.example"})
    push("credentials_wrong", {"aud": "https://hooks.example.com/"})
    push("credentials_wrong", {"email": "push@other.iam.gserviceaccount.com"})
    push("credentials_wrong", {"email_verified": False})
    push("timestamp_too_old", {"exp": AT - 61})
    push("timestamp_in_future", {"iat": AT + 61})
    push("signature_malformed", {"exp": None})
    push("signature_malformed", {"email": None})
    push("signature_mismatch", header_claims={"kid": "0ld"})
    push("signature_mismatch", header_claims={"kid": "another"})
    push("signature_mismatch", signed=pairs.rs256(pairs.rsa_pair("evil")))
    # The public key taken for a secret, and no signature at all.
    push("signature_malformed", header_claims={"alg": "HS256"}, signed=lambda text: hmac.digest(pem, text, "sha256"))
    push("signature_malformed", header_claims={"alg": "none"}, signed=lambda text: b"")


def plaid():
    """Plaid."""
    pair, id = pairs.p256_pair("plaid"), "bfbd5111-8e33-4643-8ced-b2e642a72f3c"
    body = compact({"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": "1"})
    header = compact({"alg": "ES256", "kid": id, "typ": "JWT"})
    claims = {"iat": AT, "request_body_sha256": sha256(body)}
    question = {"client_id": "client", "secret": SECRET, "key_id": id}

    def send(expect="verified", host="production", header=header, claims=claims, pair=pair, expired=None, body=body):
        by, token = DOCUMENTED, pairs.jwt(header, compact(claims), pairs.es256(pair))
        if expect == "verified":
            by = sdk.verify_plaid(token, pairs.p256_pair("plaid").public_key(), sha256(body))
        jwk = {**pairs.jwk(pairs.p256_pair("plaid"), id), "created_at": AT - 9, "expired_at": expired}
        url = f"https://{host}.plaid.com/webhook_verification_key/get"
        fetched = [answer(url, compact({"key": jwk, "request_id": "1"}), question)]
        verify = {"client_id": "client", **({"environment": host} if host != "production" else {})}
        webhook = (sha256(body), "TRANSACTIONS.SYNC_UPDATES_AVAILABLE")
        vector("plaid", by, body, {"Plaid-Verification": token}, webhook, expect=expect, verify=verify, fetched=fetched)

    send()
    send(host="sandbox")
    send(expired=AT + 60)
    other = body.replace('"item_id":"1"', '"item_id":"2"')
    send(claims={**claims, "request_body_sha256": sha256(other)}, body=other)
    send("key_unavailable", expired=AT - 60)
    send("signature_mismatch", pair=pairs.p256_pair("evil"))
    send("signature_mismatch", claims={**claims, "request_body_sha256": sha256("{}")})
    send("signature_malformed", claims={"iat": AT})
    send("signature_malformed", claims={"request_body_sha256": sha256(body)})
    send("signature_malformed", header=header.replace("ES256", "RS256"))
    send("timestamp_too_old", claims={**claims, "iat": AT - 301})
    send("timestamp_in_future", claims={**claims, "iat": AT + 301})


def adyen():
    """Adyen."""
    secret = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"

    def item(reference, merchant_reference, original=None):
        fields = {"pspReference": reference, "originalReference": original}
        fields |= {"merchantAccountCode": "TestMerchant", "merchantReference": merchant_reference}
        fields |= {"amount": {"value": 1130, "currency": "EUR"}}
        fields |= {"eventCode": "AUTHORISATION", "success": "true", "eventDate": "2026-01-01T00:00:00+00:00"}
        fields = {name: value for name, value in fields.items() if value is not None}
        by, signature = sdk.sign_adyen(fields, secret)
        return by, {"NotificationRequestItem": {**fields, "additionalData": {"hmacSignature": signature}}}

    # The example of the SDKs.
    by, first = item("7914073381342284", "TestPayment-1407325143704")
    signature = first["NotificationRequestItem"]["additionalData"]["hmacSignature"]
    assert signature == "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="
    by, second = item("8914073381342284", "a:b\\c", "7914073381342284")
    webhooks = [(key(f"{n}914073381342284", "AUTHORISATION", "true"), "AUTHORISATION") for n in (7, 8)]
    for items, secrets in [([first], [secret]), ([first, second], ["00", secret.lower()])]:
        body = compact({"live": "false", "notificationItems": items})
        vector("adyen", by, body, {}, *webhooks[: len(items)], secrets=secrets)


def hook0():
    """Coinbase Developer Platform."""
    body = compact({"eventType": "onramp.transaction.success", "data": {"orderId": "1"}})
    headers = {"x-event-id": "a0b1c2d3", "x-event-type": "onramp.transaction.success"}
    names = "content-type x-event-id x-event-type"
    values = ".".join(["application/json", *headers.values()])
    v0, v1 = hexed(f"{AT}.{body}"), hexed(f"{AT}.{names}.{values}.{body}")
    webhook = ("a0b1c2d3", "onramp.transaction.success")
    for signature in [f"t={AT},v0={v0},h={names},v1={v1}", f"t={AT}, h={names}, v1={hexed('other')}, v1={v1}"]:
        vector("coinbase-cdp", DOCUMENTED, body, {**headers, "X-Hook0-Signature": signature}, webhook)


def entra():
    """Senders with tokens of Microsoft Entra ID: Azure Event Grid, and Microsoft Graph with resource data."""
    old, pair, id = pairs.rsa_pair("entra old"), pairs.rsa_pair("entra"), "2ZQpJ3UpbjAYXYGaXEJl8lV0TOI"
    # Those of Microsoft name no algorithm.
    keys = [{**pairs.jwk(old, "0ld"), "alg": None}, {**pairs.jwk(pair, id), "alg": None}]
    fetched = [answer("https://login.microsoftonline.com/common/discovery/v2.0/keys", compact({"keys": keys}))]
    tenant, ours = "84bd8158-6d4d-4958-8b9f-9d6445542f95", "8e460676-ae3f-4b1e-8790-ee0fb5d6148f"
    v1, v2 = f"https://sts.windows.net/{tenant}/", f"https://login.microsoftonline.com/{tenant}/v2.0"

    def token(sender, claims=None, kid=id, pair=pair, is_v2=False):
        genuine = {"aud": ours, "iss": v2 if is_v2 else v1, "iat": AT - 60, "nbf": AT - 60, "exp": AT + 3600}
        genuine |= {"azp" if is_v2 else "appid": sender, "tid": tenant, "ver": "2.0" if is_v2 else "1.0"}
        header = compact({"typ": "JWT", "alg": "RS256", "kid": kid})
        return pairs.jwt(header, compact({**genuine, **(claims or {})}), pairs.rs256(pair))

    def told(is_v2=False, **more):
        verify = {"issuer": v2 if is_v2 else v1, "audience": ours}
        return {"secrets": [], "verify": verify, "fetched": fetched, **more}

    grid, preset = "4962773b-9cdb-44cf-a8bf-237846a00ab7", "azure-event-grid-entra"
    events = compact([{"id": "831e1650", "eventType": "Microsoft.Storage.BlobCreated", "data": {}}])

    def deliver(expect="verified", is_v2=False, sender=grid, **rest):
        by, made = DOCUMENTED, token(sender, is_v2=is_v2, **rest)
        if expect == "verified":
            by = sdk.verify_jwt(made, pair.public_key(), "RS256", ours, v2 if is_v2 else v1)
        headers = {"aeg-event-type": "Notification", "Authorization": f"Bearer {made}"}
        webhook = ("831e1650", "Microsoft.Storage.BlobCreated")
        vector(preset, by, events, headers, webhook, expect=expect, **told(is_v2))

    deliver()
    deliver(is_v2=True)
    deliver("credentials_wrong", sender="00000000-0000-0000-0000-000000000000")
    deliver("credentials_wrong", claims={"iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/"})
    deliver("credentials_wrong", claims={"aud": "https://graph.microsoft.com"})
    deliver("timestamp_too_old", claims={"exp": AT - 301})
    deliver("timestamp_in_future", claims={"nbf": AT + 301})
    deliver("signature_mismatch", kid="0ld")
    deliver("signature_mismatch", pair=pairs.rsa_pair("evil"))
    data = {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
    body = compact([{"id": "2d1781af", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": data}])
    handshake(preset, DOCUMENTED, body, {"aeg-event-type": "SubscriptionValidation"},
              answer=compact({"validationResponse": data["validationCode"]}), answer_type="application/json",
              **told())  # fmt: skip

    graph, preset = "0bf30f3b-4a52-48df-9a82-234910c4a086", "microsoft-graph-rich"
    items = [{"id": "lsgTZMr9", "changeType": "created", "encryptedContent": {"data": "SGVsbG8="}}]
    one, other = token(graph), token("00000000-0000-0000-0000-000000000000")
    by = sdk.verify_jwt(one, pair.public_key(), "RS256", ours, v1)
    for tokens, expect in [([one], "verified"), ([one, other], "credentials_wrong"), ([], "signature_missing")]:
        body = compact({"value": items, "validationTokens": tokens})
        made_by = by if expect == "verified" else DOCUMENTED
        vector(preset, made_by, body, {}, ("lsgTZMr9", "created"), expect=expect, **told())
    two = token(graph, is_v2=True)
    by = sdk.verify_jwt(two, pair.public_key(), "RS256", ours, v2)
    body = compact({"value": items, "validationTokens": [two]})
    vector(preset, by, body, {}, ("lsgTZMr9", "created"), **told(is_v2=True))
    handshake(preset, DOCUMENTED, answer="Validation: Testing client application reachability 1",
              url=url_of(preset, "?validationToken=Validation%3a+Testing+client+application+reachability+1"),
              **told())  # fmt: skip


def coded():
    """All of them."""
    for sign in [sns, paypal, google, plaid, adyen, hook0, entra]:
        sign()
