"""FastMCP, line 4, in its default mode. A result that is an error is raised; its text is what an agent puts before the model."""

import asyncio

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError

from driven import HEADERS, URL, drive, plain


async def main():
    async with Client(StreamableHttpTransport(URL, headers=HEADERS)) as client:

        async def list_tools():
            return [plain(tool) for tool in await client.list_tools()]

        async def call_tool(name, arguments):
            try:
                result = await client.call_tool(name, arguments)
            except ToolError as raised:
                return {"isError": True, "content": [{"type": "text", "text": str(raised)}]}
            return {"isError": result.is_error, "content": [plain(block) for block in result.content]}

        await drive("", list_tools, call_tool)


asyncio.run(main())
