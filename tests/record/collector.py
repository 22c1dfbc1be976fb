"""Reads what a collector was sent with OpenTelemetry's own types, and holds its names against the published conventions.

In: one request a line, {"signal": "traces" | "logs", "body": …}. Out: {"spans": […], "logs": […], "unknown": […]}.
"""

import base64
import importlib
import json
import pkgutil
import sys

import opentelemetry.semconv.attributes as stable
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

IDS = {"traceId", "spanId", "parentSpanId"}


def published():
    """Every attribute that the conventions name, stable or not."""
    incubating = importlib.import_module("opentelemetry.semconv._incubating.attributes")
    names = set()
    for package in (stable, incubating):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            for key, value in vars(importlib.import_module(module.name)).items():
                if key.isupper() and isinstance(value, str):
                    names.add(value)
    return names


def with_ids(value):
    """OTLP/JSON writes ids in hex, where the JSON of Protocol Buffers has base64."""
    if isinstance(value, dict):
        return {
            name: base64.b64encode(bytes.fromhex(inner)).decode() if name in IDS else with_ids(inner)
            for name, inner in value.items()
        }
    return [with_ids(inner) for inner in value] if isinstance(value, list) else value


def plain(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes if not one.value.HasField("array_value")}


known, unknown, spans, logs = published(), set(), [], []


def check(attributes):
    unknown.update(one.key for one in attributes if not one.key.startswith("holdpoint.") and one.key not in known)


for line in sys.stdin:
    sent = json.loads(line)
    body = with_ids(sent["body"])
    if sent["signal"] == "traces":
        # Fails on any member that the protocol does not have.
        request = json_format.ParseDict(body, ExportTraceServiceRequest())
        for resource in request.resource_spans:
            check(resource.resource.attributes)
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                check(span.attributes)
                spans.append({
                    "service": plain(resource.resource.attributes)["service.name"],
                    "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex(),
                    "name": span.name, "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    "ms": (span.end_time_unix_nano - span.start_time_unix_nano) // 1_000_000,
                    "error": span.status.code == 2, "events": [event.name for event in span.events],
                    "attributes": plain(span.attributes),
                })
    else:
        request = json_format.ParseDict(body, ExportLogsServiceRequest())
        for resource in request.resource_logs:
            check(resource.resource.attributes)
            for record in (record for scope in resource.scope_logs for record in scope.log_records):
                check(record.attributes)
                logs.append({"trace": record.trace_id.hex(), "span": record.span_id.hex(), **plain(record.attributes)})

json.dump({"spans": spans, "logs": logs, "unknown": sorted(unknown)}, sys.stdout)
