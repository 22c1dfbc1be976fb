"""The Python SDK, line 2, in its default mode: it asks the server which generation of the protocol it speaks."""

import asyncio

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import ElicitResult

from driven import FILLS_IN, HEADERS, URL, drive, on_log, plain


async def fill_in(_context, _params):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main():
    async with create_mcp_http_client(headers=HEADERS) as http:
        callbacks = {"logging_callback": on_log, "elicitation_callback": fill_in} if FILLS_IN else {}
        async with Client(streamable_http_client(URL, http_client=http), **callbacks) as client:

            async def list_tools():
                return [plain(tool) for tool in (await client.list_tools()).tools]

            async def call_tool(name, arguments):
                return plain(await client.call_tool(name, arguments))

            await drive(client.protocol_version, list_tools, call_tool)


asyncio.run(main())
