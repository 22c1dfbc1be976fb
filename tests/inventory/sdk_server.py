"""An MCP server of the Python SDK whose tools are what a file says now, as of a server that is deployed anew under its clients.

Usage: sdk_server.py PORT FILE. The file holds {"tool name": "its description", …}.
"""

import json
import sys

from mcp.server.fastmcp import FastMCP

PORT, FILE = int(sys.argv[1]), sys.argv[2]


class Server(FastMCP):
    async def list_tools(self):
        with open(FILE, encoding="utf-8") as file:
            wanted = json.load(file)
        for tool in await super().list_tools():
            self.remove_tool(tool.name)
        for name, description in wanted.items():
            self.add_tool(act, name=name, description=description)
        return await super().list_tools()


def act(title: str = "") -> str:
    return f"did {title}"


server = Server("issue-desk", host="127.0.0.1", port=PORT, stateless_http=True, json_response=True)
server.add_tool(act, name="create_issue", description="not listed yet")
server.run(transport="streamable-http")
