"""The Python SDK, line 1."""

import asyncio

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import ElicitResult

from driven import FILLS_IN, HEADERS, URL, drive, on_log, plain


async def fill_in(_context, _params):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main():
    async with (
        create_mcp_http_client(headers=HEADERS) as http,
        streamable_http_client(URL, http_client=http) as (read, write, _),
        ClientSession(
            read, write, logging_callback=on_log, elicitation_callback=fill_in if FILLS_IN else None
        ) as session,
    ):
        started = await session.initialize()

        async def list_tools():
            return [plain(tool) for tool in (await session.list_tools()).tools]

        async def call_tool(name, arguments):
            return plain(await session.call_tool(name, arguments))

        await drive(started.protocolVersion, list_tools, call_tool)


asyncio.run(main())
