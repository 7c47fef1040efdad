"""Signs with those SDKs of the senders that sign. Each function returns the SDK and its version first.

The tests of tests/clients use this module too: their requirements.txt has what it needs.
"""

import importlib.metadata
import json
import pathlib
import subprocess

import standardwebhooks.webhooks
import stripe
import svix.webhooks
from cloudevents.core.bindings import http as cloudevents_http
from cloudevents.core.v1.event import CloudEvent
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator

# Where the packages of npm are installed.
NODE_FOLDER = None


def named(package):
    """A package of PyPI and its version."""
    return f"{package} {importlib.metadata.version(package)} (PyPI)"


def node(package, program, *arguments):
    """Runs a program of JavaScript with a package of npm. Returns the package, and what the program prints."""
    version = json.loads((pathlib.Path(NODE_FOLDER) / "node_modules" / package / "package.json").read_text())["version"]
    command = ["node", "--input-type=module", "--eval", program, "--", *arguments]
    output = subprocess.run(command, cwd=NODE_FOLDER, check=True, capture_output=True, text=True, timeout=60).stdout
    return f"{package} {version} (npm)", output.strip()


def sign_github(secret, body):
    program = """
        import { sign } from "@octokit/webhooks-methods";
        console.log(await sign(process.argv[1], process.argv[2]));"""
    return node("@octokit/webhooks-methods", program, secret, body)


def sign_standard_webhooks(prefix, secret, name, moment, body):
    module = {"webhook": standardwebhooks.webhooks, "svix": svix.webhooks}[prefix]
    by = named({"webhook": "standardwebhooks", "svix": "svix"}[prefix])
    return by, module.Webhook(secret).sign(name, moment, body)


def sign_stripe(body, secret, seconds):
    return named("stripe"), stripe.WebhookSignature.generate_signature_header(body, secret, seconds)


def sign_slack(secret, seconds, body):
    return named("slack_sdk"), SignatureVerifier(secret).generate_signature(timestamp=str(seconds), body=body)


def sign_twilio(token, url, fields_or_body):
    """Signs a form, or a body whose digest is in the URL."""
    validator, is_form = RequestValidator(token), isinstance(fields_or_body, dict)
    signature = validator.compute_signature(url, fields_or_body if is_form else {})
    assert validator.validate(url, fields_or_body, signature)
    return named("twilio"), signature


def cloud_event(mode, attributes, data):
    """An event in binary or structured mode. Returns the SDK, the headers and the body."""
    make = {"binary": cloudevents_http.to_binary_event, "structured": cloudevents_http.to_structured_event}[mode]
    message = make(CloudEvent(attributes={**attributes, "datacontenttype": "application/json"}, data=data))
    return named("cloudevents"), message.headers, message.body.decode()
