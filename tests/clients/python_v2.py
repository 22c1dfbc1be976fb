"""The Python SDK, line 2, in its default mode: it asks the server which generation of the protocol it speaks."""

import asyncio

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from driven import HEADERS, URL, drive, plain


async def main():
    async with create_mcp_http_client(headers=HEADERS) as http:
        async with Client(streamable_http_client(URL, http_client=http)) as client:

            async def list_tools():
                return [plain(tool) for tool in (await client.list_tools()).tools]

            async def call_tool(name, arguments):
                return plain(await client.call_tool(name, arguments))

            await drive(client.protocol_version, list_tools, call_tool)


asyncio.run(main())
