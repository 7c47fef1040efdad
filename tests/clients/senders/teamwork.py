"""Requests of senders of code, chat and office work."""

import hmac

import pairs
import sdk
from record import AT, DOCUMENTED, RFC3339, SECRET, based, compact, handshake, hexed, key, sha256, url_of, vector


def hs256(claims):
    """A JSON Web Token, and the package that verifies it."""
    header = compact({"alg": "HS256", "typ": "JWT"})
    token = pairs.jwt(header, compact(claims), lambda text: hmac.digest(SECRET.encode(), text, "sha256"))
    return sdk.verify_jwt(token, SECRET, "HS256", claims.get("aud")), token


def code():
    """GitHub, GitLab, Bitbucket, Jira, Linear, Sentry and Vercel."""
    secret, body = "It's a Secret to Everybody", "Hello, World!"
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "72d3162e", "X-Hub-Signature-256": signature}
    by = "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"
    vector("github", by, body, headers, ("72d3162e", "ping"),
           secrets=[secret], content_type=None)  # fmt: skip
    body = compact({"action": "opened", "number": 1, "pull_request": {"title": "żółw"}})
    by, signature = sdk.sign_github(SECRET, body)
    headers = {"X-GitHub-Event": "pull_request", "X-GitHub-Delivery": "0b989ba4", "X-Hub-Signature-256": signature}
    vector("github", by, body, headers, ("0b989ba4", "pull_request.opened"))

    body = compact({"object_kind": "push", "ref": "refs/heads/main"})
    headers = {"X-Gitlab-Event": "Push Hook", "Idempotency-Key": "f5e5f430", "X-Gitlab-Token": SECRET}
    vector("gitlab", DOCUMENTED, body, headers, ("f5e5f430", "Push Hook"))

    body = compact({"repository": {"full_name": "a/b"}, "push": {"changes": []}})
    headers = {"X-Event-Key": "repo:push", "X-Request-UUID": "2d1b3a0e", "X-Hub-Signature": f"sha256={hexed(body)}"}
    vector("bitbucket", DOCUMENTED, body, headers, ("2d1b3a0e", "repo:push"))

    body = compact({"timestamp": AT * 1000, "webhookEvent": "jira:issue_updated", "issue": {"key": "A-1"}})
    headers = {"X-Atlassian-Webhook-Identifier": "8c9a7d6e", "X-Hub-Signature": f"sha256={hexed(body)}"}
    vector("jira", DOCUMENTED, body, headers, ("8c9a7d6e", "jira:issue_updated"))
    by, token = hs256({"iss": "a0b1c2d3", "iat": AT, "exp": AT + 180})
    headers = {"X-Atlassian-Webhook-Identifier": "8c9a7d6e", "Authorization": f"Bearer {token}"}
    vector("jira-app", by, body, headers, ("8c9a7d6e", "jira:issue_updated"))

    body = compact({"action": "update", "type": "Issue", "data": {"id": "1"}, "webhookTimestamp": AT * 1000})
    headers = {"Linear-Delivery": "234d1a4e", "Linear-Event": "Issue", "Linear-Signature": hexed(body)}
    by = sdk.verify_linear(SECRET, body, hexed(body), AT)
    vector("linear", by, body, headers, ("234d1a4e", "Issue.update"))
    body = compact({"action": "update", "data": {"id": "1"}, "webhookTimestamp": AT * 1000})
    headers["Linear-Signature"] = hexed(body)
    vector("linear", f"{DOCUMENTED}, with the type in the header alone", body, headers, ("234d1a4e", "Issue.update"))

    body = compact({"action": "created", "installation": {"uuid": "a8e5d37a"}, "data": {"issue": {"id": "1"}}})
    headers = {"Request-ID": "6a7b8c9d", "Sentry-Hook-Resource": "issue", "Sentry-Hook-Signature": hexed(body)}
    vector("sentry", DOCUMENTED, body, headers, ("6a7b8c9d", "issue.created"))

    body = compact({"id": "evt_1", "type": "deployment.created", "createdAt": AT * 1000, "payload": {}})
    headers = {"x-vercel-signature": hexed(body, digest="sha1")}
    vector("vercel", DOCUMENTED, body, headers, ("evt_1", "deployment.created"))


def chat():
    """Slack, Discord, Telegram, Zoom, Twitch, Meta, WhatsApp and X."""
    # The example of the page "Verifying requests from Slack".
    secret, at, form = "8f742231b10e8888abcd99yyyzzz85a5", 1531420618, "application/x-www-form-urlencoded"
    body = (
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    by, made = sdk.sign_slack(secret, at, body)
    assert made == signature
    headers = {"X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": signature}
    vector("slack-interactivity", f"docs.slack.dev and {by}", body, headers, (sha256(body), "/webhook-collect"),
           secrets=[secret], at=at, content_type=form)  # fmt: skip
    body = compact({"type": "event_callback", "event_id": "Ev1", "event": {"type": "message", "text": "Hi"}})
    by, signature = sdk.sign_slack(SECRET, AT, body)
    headers = {"X-Slack-Request-Timestamp": str(AT), "X-Slack-Signature": signature}
    vector("slack", by, body, headers, ("Ev1", "message"))
    # The example of the page about this event.
    limited = {"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "type": "app_rate_limited", "team_id": "T123456"}
    body = compact({**limited, "minute_rate_limited": 1518467820, "api_app_id": "A123456"})
    by, signature = sdk.sign_slack(SECRET, AT, body)
    vector("slack", f"docs.slack.dev (app_rate_limited) and {by}", body, {**headers, "X-Slack-Signature": signature},
           (sha256(body), "app_rate_limited"))  # fmt: skip
    challenge = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7"
    body = compact({"token": "x", "challenge": challenge, "type": "url_verification"})
    by, signature = sdk.sign_slack(SECRET, AT, body)
    handshake("slack", by, body, {**headers, "X-Slack-Signature": signature}, answer=challenge)

    # A key made for this; its private half was not kept.
    public_key = "a3b6e6ccf01a385fd8aa51c54d4523e65d726c209ea40d24a93281669f45b9f2"
    event = {"type": "APPLICATION_AUTHORIZED", "timestamp": "2026-01-01T00:00:00.064834"}
    event |= {"data": {"integration_type": 1, "scopes": ["applications.commands"]}}
    application = {"version": 1, "application_id": "1234560123453231555"}
    signed = [
        (compact({**application, "type": 1, "event": event}),
         "f68f37273b4bb18f56ee8948ae9d7f0c75617620855104af5dbe84dc2f16fa2f"
         "f14bd066742d78d5257a9063be5014b09f6873b727ea92e38153c66d9180060b"),
        (compact({**application, "type": 0}),
         "e95638c1539d03351e615186af9d81d08059a67d36a74199b8bda011260ce5c7"
         "3838dbafc748e7bb46cc344e3a31b57634ab188573c6eda7827aa657f69a5505"),
        ('{"type":1,"id":"1","token":"A_UNIQUE_TOKEN","version":1}',
         "f32f6e7eb374ac0ebb1bd8780c78b13df243a07ab73a6579d1bdd6e73cb7b342"
         "285fb23413bba488dda3aee9b10319850daf8454f4789ef7f34607977a75ff08"),
    ]  # fmt: skip
    for at, (body, signature) in enumerate(signed):
        by = sdk.verify_discord(body, signature, str(AT), public_key)
        headers = {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": str(AT)}
        keys = {"secrets": [], "public_keys": [public_key]}
        if at == 0:
            vector("discord", by, body, headers, (sha256(body), "APPLICATION_AUTHORIZED"), **keys)
        elif at == 1:
            handshake("discord", by, body, headers, status=204, **keys)
        else:
            handshake("discord", by, body, headers, answer='{"type":1}', answer_type="application/json", **keys)

    body = compact({"update_id": 10000, "message": {"message_id": 1, "text": "Hi"}})
    vector("telegram", DOCUMENTED, body, {"X-Telegram-Bot-Api-Secret-Token": "s3cret_Token-1"},
           ("10000", "message"), secrets=["s3cret_Token-1"])  # fmt: skip

    body = compact({"event": "meeting.started", "event_ts": AT * 1000, "payload": {"object": {"id": "1"}}})
    headers = {"x-zm-request-timestamp": str(AT), "x-zm-signature": f"v0={hexed(f'v0:{AT}:{body}')}"}
    vector("zoom", DOCUMENTED, body, headers, (sha256(body), "meeting.started"))
    body = compact({"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}})
    answer = compact({"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": hexed("qgg8vlvZRS6UYooatFL8Aw")})
    handshake("zoom", DOCUMENTED, body, answer=answer, answer_type="application/json")

    def twitch(kind, body):
        prefix, sent = "Twitch-Eventsub-", "2026-01-01T00:00:00.123456789Z"
        headers = {f"{prefix}Message-Id": "befa7b53", f"{prefix}Message-Timestamp": sent, f"{prefix}Message-Type": kind}
        headers[f"{prefix}Subscription-Type"] = "channel.follow"
        return {**headers, f"{prefix}Message-Signature": f"sha256={hexed(f'befa7b53{sent}{body}')}"}

    body = compact({"subscription": {"type": "channel.follow"}, "event": {"user_id": "1"}})
    vector("twitch", DOCUMENTED, body, twitch("notification", body), ("befa7b53", "channel.follow.notification"))
    body = compact({"subscription": {"type": "channel.follow", "status": "authorization_revoked"}})
    vector("twitch", f"{DOCUMENTED} (revocation)", body, twitch("revocation", body),
           ("befa7b53", "channel.follow.revocation"))  # fmt: skip
    body = compact({"challenge": "pogchamp-kappa-360noscope-vohiyo", "subscription": {"type": "channel.follow"}})
    handshake("twitch", DOCUMENTED, body, twitch("webhook_callback_verification", body),
              answer="pogchamp-kappa-360noscope-vohiyo")  # fmt: skip

    entries = [{"id": "1", "time": AT, "changes": [{"field": "feed"}]}, {"id": "2", "time": AT, "messaging": []}]
    body = compact({"object": "page", "entry": entries})
    names = [sha256(compact(entry)) for entry in entries]
    vector("meta", DOCUMENTED, body, {"X-Hub-Signature-256": f"sha256={hexed(body)}"},
           (names[0], "page.feed"), (names[1], "page"), verify_token="t0ken")  # fmt: skip
    entry = {"id": "1", "changes": [{"field": "messages", "value": {"messages": [{"id": "wamid.1"}]}}]}
    body = compact({"object": "whatsapp_business_account", "entry": [entry]})
    vector("whatsapp", DOCUMENTED, body, {"X-Hub-Signature-256": f"sha256={hexed(body)}"},
           (sha256(compact(entry)), "whatsapp_business_account.messages"), verify_token="t0ken")  # fmt: skip
    query = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=t0ken"
    for preset in ["meta", "whatsapp"]:
        handshake(preset, DOCUMENTED, method="GET", url=url_of(preset, query), answer="1158201444",
                  verify_token="t0ken")  # fmt: skip

    body = compact({"for_user_id": "2244994945", "favorite_events": [{"id": "a7ba59ee"}]})
    headers = {"X-Twitter-Webhooks-Signature": f"sha256={based(body)}"}
    vector("x", DOCUMENTED, body, headers, (sha256(body), "favorite_events"))
    handshake("x", DOCUMENTED, method="GET", url=url_of("x", "?crc_token=5f0ca6cd-3c0f"),
              answer=compact({"response_token": f"sha256={based('5f0ca6cd-3c0f')}"}),
              answer_type="application/json")  # fmt: skip


def offices():
    """DocuSign, PagerDuty, Notion, Figma, Typeform, Calendly, WorkOS, Okta, Asana, Dropbox and monday.com."""
    data = {"envelopeId": "34fee816", "accountId": "5d2a"}
    body = compact({"event": "envelope-completed", "generatedDateTime": RFC3339, "retryCount": 0, "data": data})
    headers = {"X-DocuSign-Signature-1": based("of another key"), "X-DocuSign-Signature-2": based(body)}
    name = key("34fee816", "envelope-completed", RFC3339)
    vector("docusign", DOCUMENTED, body, headers, (name, "envelope-completed"))
    vector("docusign", DOCUMENTED, body, {"X-DocuSign-Signature-1": based(body)}, (name, "envelope-completed"))

    body = compact({"event": {"id": "01BYVNHD", "event_type": "incident.triggered", "resource_type": "incident"}})
    headers = {"X-PagerDuty-Signature": f"v1={hexed('of another secret')},v1={hexed(body)}"}
    vector("pagerduty", DOCUMENTED, body, headers, ("01BYVNHD", "incident.triggered"))
    headers = {"X-PagerDuty-Signature": f"v1={hexed(body)}"}
    vector("pagerduty", DOCUMENTED, body, headers, ("01BYVNHD", "incident.triggered"))

    body = compact({"id": "367cba44", "timestamp": RFC3339, "type": "page.created", "attempt_number": 1})
    headers = {"X-Notion-Signature": f"sha256={hexed(body)}"}
    vector("notion", DOCUMENTED, body, headers, ("367cba44", "page.created"))
    handshake("notion", DOCUMENTED, compact({"verification_token": "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}))

    common = {"passcode": SECRET, "timestamp": RFC3339, "webhook_id": "22", "retries": 0}
    for event_type, members, part in [
        ("FILE_UPDATE", {"file_key": "zH44k2"}, "zH44k2"),
        ("FILE_COMMENT", {"file_key": "zH44k2", "comment_id": "32"}, "32"),
        ("LIBRARY_PUBLISH", {"file_key": "zH44k2", "created_styles": [], "modified_styles": [{"key": "50d9"}]}, "50d9"),
    ]:
        body = compact({"event_type": event_type, **common, **members})
        vector("figma", DOCUMENTED, body, {}, (key("22", RFC3339, event_type, part), event_type))
    body = compact({"event_type": "PING", **common})
    vector("figma", DOCUMENTED, body, {}, (key("22", RFC3339, "PING", sha256(body)), "PING"))

    body = compact({"event_id": "LtWXD3crgy", "event_type": "form_response", "form_response": {}})
    headers = {"Typeform-Signature": f"sha256={based(body)}"}
    vector("typeform", DOCUMENTED, body, headers, ("LtWXD3crgy", "form_response"))

    uri = "https://api.calendly.com/scheduled_events/1/invitees/1"
    body = compact({"event": "invitee.created", "created_at": RFC3339, "payload": {"uri": uri}})
    headers = {"Calendly-Webhook-Signature": f"t={AT},v1={hexed(f'{AT}.{body}')}"}
    vector("calendly", DOCUMENTED, body, headers, (key(uri, "invitee.created", RFC3339), "invitee.created"))

    body = compact({"id": "wh_1", "event": "dsync.user.created", "data": {"id": "directory_user_1"}})
    signature = f"t={AT * 1000}, v1={hexed(f'{AT * 1000}.{body}')}"
    by = sdk.verify_workos(body, signature, SECRET, AT)
    vector("workos", by, body, {"WorkOS-Signature": signature}, ("wh_1", "dsync.user.created"))

    events = [{"uuid": "b1", "eventType": "user.lifecycle.create"}, {"uuid": "b2", "eventType": "user.session.start"}]
    body = compact({"eventType": "com.okta.event_hook", "eventId": "3a0c", "data": {"events": events}})
    vector("okta", DOCUMENTED, body, {"Authorization": SECRET},
           (key("3a0c", "b1"), "user.lifecycle.create"), (key("3a0c", "b2"), "user.session.start"))  # fmt: skip
    handshake("okta", DOCUMENTED, method="GET", headers={"X-Okta-Verification-Challenge": "Gvu-5oUuX"},
              answer='{"verification":"Gvu-5oUuX"}', answer_type="application/json")  # fmt: skip

    events = [
        {"action": "added", "created_at": RFC3339, "resource": {"gid": "1", "resource_type": "task"}},
        {"action": "changed", "created_at": RFC3339, "resource": {"gid": "1", "resource_type": "task"}},
    ]
    body = compact({"events": events})
    names = [(sha256(compact(event)), f"task.{event['action']}") for event in events]
    vector("asana", DOCUMENTED, body, {"X-Hook-Signature": hexed(body)}, *names)
    handshake("asana", DOCUMENTED, "{}", {"X-Hook-Secret": "b537207f20cbfa02"},
              answer_headers=[("X-Hook-Secret", "b537207f20cbfa02")])  # fmt: skip

    body = compact({"list_folder": {"accounts": ["dbid:AAH4f99T0taONIb"]}, "delta": {"users": [12345678]}})
    vector("dropbox", DOCUMENTED, body, {"X-Dropbox-Signature": hexed(body)}, ("r1", None))
    handshake("dropbox", DOCUMENTED, method="GET", url=url_of("dropbox", "?challenge=t3stChallenge_-1"),
              answer="t3stChallenge_-1")  # fmt: skip

    url = url_of("monday", "?token=s3cret")
    body = compact({"event": {"type": "create_pulse", "triggerUuid": "b5ed2e17", "triggerTime": RFC3339}})
    vector("monday", DOCUMENTED, body, {}, ("b5ed2e17", "create_pulse"), url=url, secrets=["s3cret"])
    body = compact({"challenge": "3eZbrw1aBm2rZgRNFdxV"})
    handshake("monday", DOCUMENTED, body, answer=body, answer_type="application/json", url=url, secrets=["s3cret"])
    handshake("monday-app", DOCUMENTED, body, answer=body, answer_type="application/json")
    body = compact({"event": {"type": "create_pulse", "triggerUuid": "b5ed2e17", "triggerTime": RFC3339}})
    claims = {"accountId": 1825528, "userId": 4012689, "aud": url_of("monday-app")}
    by, token = hs256({**claims, "exp": AT + 300, "shortLivedToken": "a.b.c", "iat": AT})
    vector("monday-app", by, body, {"Authorization": token}, ("b5ed2e17", "create_pulse"))
