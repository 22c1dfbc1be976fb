"""An agent in Python that lives well behind hold points.

    AGENT_TOKEN=… python agent.py URL TOOL '{"argument": "value"}' [--tag TAG]… [--patience-s 600]

Prints the result of the call, or says on standard error why there is none (exit code 1). Needs the packages `mcp` (2.x).
"""

import argparse
import asyncio
import json
import os
import sys
import time

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

# Where the gateway says, for programs, what it says in words for models.
DECISION = "holdpoint.dev/decision"
# Where a client says what it knows of its own call. Tags only ever tighten: whoever is unsure may say so.
TAGS = "holdpoint.dev/tags"
PAUSE_S = 1.0


class Refused(Exception):
    """The call did not run, and repeating it changes nothing. `status` is the gateway's word, the text its reason."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


async def call(client, tool, arguments, tags=(), patience_s=600.0):
    """Calls a tool. While somebody has to look at the call, or a limit is reached, waits and asks again with the very same
    call: it is recognised, runs once, and nobody is asked twice."""
    give_up_at = time.monotonic() + patience_s
    meta = {TAGS: list(tags)} if tags else None
    while True:
        result = await client.call_tool(tool, arguments, meta=meta)
        decision = (result.meta or {}).get(DECISION)
        if decision is None:
            return result
        reason = " ".join(part.text for part in result.content if part.type == "text")
        if not decision["may_repeat"] or time.monotonic() > give_up_at:
            raise Refused(decision["status"], reason)
        await asyncio.sleep(PAUSE_S)


async def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("url")
    words.add_argument("tool")
    words.add_argument("arguments", type=json.loads)
    words.add_argument("--tag", action="append", default=[])
    words.add_argument("--patience-s", type=float, default=600.0)
    chosen = words.parse_args()
    headers = {"Authorization": f"Bearer {os.environ['AGENT_TOKEN']}"}
    async with create_mcp_http_client(headers=headers) as http:
        async with Client(streamable_http_client(chosen.url, http_client=http)) as client:
            try:
                result = await call(client, chosen.tool, chosen.arguments, chosen.tag, chosen.patience_s)
            except Refused as refused:
                sys.exit(f"{refused.status}: {refused}")
            print(result.model_dump_json(by_alias=True, exclude_none=True))


asyncio.run(main())
