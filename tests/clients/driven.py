"""What every Python client here shares: one JSON line of standard input is one thing to do, one line of output its end.

In:  {"list": true},  {"tool": name, "arguments": {...}}  or  {"heard": true}
Out: {"connected": protocol version}, then per line {"tools": [...]}, {"result": {...}}, {"heard": [log message, ...]} or
     {"error": what was raised}
"""

import asyncio
import json
import os
import sys

URL = sys.argv[1]
# A server that is asked directly wants no token.
HEADERS = {"Authorization": f"Bearer {os.environ['AGENT_TOKEN']}"} if os.environ.get("AGENT_TOKEN") else {}


# Whether it has a user who fills in forms.
FILLS_IN = os.environ.get("HOLDPOINT_FILLS_IN") == "1"
# What its server said without being asked.
HEARD = []


async def on_log(params):
    HEARD.append(params.data)


def say(**line):
    print(json.dumps(line), flush=True)


def plain(model):
    """A model of the SDK as the JSON it was read from."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def drive(version, list_tools, call_tool):
    """Works off standard input until it ends."""
    say(connected=version)
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted = json.loads(line)
        try:
            if "heard" in wanted:
                say(heard=HEARD)
            elif "tool" in wanted:
                say(result=await call_tool(wanted["tool"], wanted["arguments"]))
            else:
                say(tools=await list_tools())
        except Exception as raised:
            say(error=f"{type(raised).__name__}: {raised}")
