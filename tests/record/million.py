"""How fast the record is searched when it is long: python3 tests/record/million.py [--entries 1000000]

Fills a service of its own over its API, as filters do, and times searches at `/v1/record`. Needs a release build:
cargo build --release -p approval-svc
"""

import argparse
import http.client
import json
import pathlib
import random
import socket
import statistics
import subprocess
import tempfile
import time

arguments = argparse.ArgumentParser()
arguments.add_argument("--entries", type=int, default=1_000_000)
arguments.add_argument("--binary", default="target/release/holdpoint")
wanted = arguments.parse_args()

BATCH = 1_000
chance = random.Random(7)


def free():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def entry(at):
    """A day's calls of 200 agents on 20 servers; one in a hundred is denied."""
    denied = at % 100 == 0
    return {
        "schema": "holdpoint/audit/v1", "kind": "decision", "at_ms": 1_700_000_000_000 + at * 86, "method": "tools/call",
        "principal": {"issuer": "https://idp", "subject": f"agent-{chance.randrange(200)}", "actor_type": "agent",
                      "tenant": f"tenant-{chance.randrange(10)}"},
        "server": f"server-{chance.randrange(20)}", "target": f"tool_{chance.randrange(50)}",
        "verdict": "deny" if denied else "allow", "rule_ids": ["deny-some" if denied else "allow-most"],
        "trace_id": f"{chance.getrandbits(128) or 1:032x}", "span_id": f"{chance.getrandbits(64) or 1:016x}",
        **({} if denied else {"outcome": "committed", "latency_ms": 12, "http_status": 200, "answer_bytes": 2048}),
    }


with tempfile.TemporaryDirectory() as scratch:
    data, port = pathlib.Path(scratch) / "data", free()
    said = ["--data-dir", str(data)]
    service = subprocess.Popen(
        [wanted.binary, "serve", "--listen", f"127.0.0.1:{port}", *said,
         "--gateway-requests-per-s-max", "100000", "--person-requests-per-s-max", "100000"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    service.stdout.readline()
    try:
        def token(role):
            made = [wanted.binary, "token", "create", "--role", role, "--subject", role, "--output", "json", *said]
            return json.loads(subprocess.check_output(made))["token"]

        http_, gateway, auditor = http.client.HTTPConnection("127.0.0.1", port), token("enforcer"), token("auditor")

        def ask(method, path, who, body=None):
            began = time.perf_counter()
            http_.request(method, path, body and json.dumps(body), {"authorization": f"Bearer {who}", "content-type": "application/json"})
            answer = http_.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            return json.loads(text), (time.perf_counter() - began) * 1_000

        began, sample = time.perf_counter(), None
        for first in range(0, wanted.entries, BATCH):
            entries = [entry(at) for at in range(first, min(first + BATCH, wanted.entries))]
            if first <= wanted.entries // 2 < first + BATCH:
                sample = entries[7]
            ask("POST", "/v1/audit/entries", gateway, {"source": "edge/1", "first_counter": first, "entries": entries})
        appended = time.perf_counter() - began
        while ask("GET", "/v1/record?limit=1", auditor)[0]["unsearched"]:
            time.sleep(0.1)
        indexed = time.perf_counter() - began
        size = (data / "holdpoint.db").stat().st_size
        print(f"{wanted.entries:,} entries appended in {appended:.0f} s, all searchable after {indexed:.0f} s; {size / 1e6:.0f} MB")
        middle = 1_700_000_000_000 + wanted.entries * 43
        for what, query in {
            "the newest": "",
            "one trace": f"trace={sample['trace_id']}",
            "one agent": f"who={sample['principal']['subject']}",
            "one agent, server and tool": f"who={sample['principal']['subject']}&server={sample['server']}&tool={sample['target']}",
            "what one rule denied": "rule=deny-some&verdict=deny",
            "an hour in the middle": f"since_ms={middle}&until_ms={middle + 3_600_000}",
            "denied, of one server, in that hour": f"verdict=deny&server={sample['server']}&since_ms={middle}&until_ms={middle + 3_600_000}",
            "two things that never meet": "rule=deny-some&outcome=committed",
            "nobody": "who=nobody",
        }.items():
            runs = [ask("GET", f"/v1/record?{query}", auditor) for _ in range(21)]
            found = len(runs[0][0]["entries"])
            print(f"{what}: {statistics.median(took for _, took in runs):.1f} ms at p50, {max(took for _, took in runs):.1f} ms at most, {found} entries on the first page")
    finally:
        service.kill()
