"""Everything that hookbox shows over both APIs and on the page, as its contracts and its router list it."""

import re
import sys

import grpc
import harness
from google.protobuf import message_factory

sys.path.append(str(harness.ROOT / "proto"))

# How the names of calls over gRPC begin that show something.
SHOWS = ("Get", "List", "Watch", "Lease", "Reload")
# What browsers get besides views: files of the program, and a stream of events without data.
NOT_VIEWS = {"/assets/{file}", "/live"}


def filled(path, values):
    """A path with each value of its parameter. `values` has those of every parameter."""
    parameter = re.search(r"{(\w+)}", path)
    return [path.replace(parameter[0], value) for value in values[parameter[1]]] if parameter else [path]


def documented(hookbox):
    """Each path by GET of the OpenAPI document, with the names of its parameters, and whether its answer is a stream,
    which may not end."""
    for path, calls in hookbox.get("/openapi.json")["paths"].items():
        if "get" in calls:
            parameters = {parameter["name"] for parameter in calls["get"].get("parameters", [])}
            yield path, parameters, "text/event-stream" in calls["get"]["responses"]["200"].get("content", {})


def views():
    """The path of each view of the page, as the router has it."""
    files = (harness.ROOT / "src" / "page").rglob("*.rs")
    paths = {path for file in files for path in re.findall(r'\.get\("(/[^"]*)"', file.read_text())}
    return ["/", *sorted(paths - NOT_VIEWS)]


def calls(values):
    """Each call over gRPC that shows something: its path, its requests, and whether its answer is a stream, which may
    not end."""
    for file in sorted((harness.ROOT / "proto").glob("hookbox/v1/*_service.proto")):
        protos, _ = grpc.protos_and_services(f"hookbox/v1/{file.name}")
        for service in protos.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if method.name.startswith(SHOWS):
                    requests = _requests(method.input_type, values)
                    yield f"/{service.full_name}/{method.name}", requests, method.server_streaming


def _requests(type, values):
    """The requests of this type: with each id, with each source, or the only one."""
    message, fields = message_factory.GetMessageClass(type), set(type.fields_by_name)
    if "id" in fields:
        return [message(id=id) for id in values["id"]]
    if fields == {"source"}:
        return [message(source=source) for source in values["source"]]
    known = {"number": 1, "routes": ["kept"], "worker": "a-worker", "max_jobs": 10, "page_size": 500}
    return [message(**{name: value for name, value in known.items() if name in fields})]
