# The smallest MCP server over pipes: what peers/server.rs is over HTTP.
import json
import sys


def tool(name):
    project = {"type": "string", "description": "The short name of the project"}
    schema = {"type": "object", "properties": {"project": project}, "required": ["project"]}
    return {"name": name, "description": "Works on one project", "inputSchema": schema}


def result(message):
    method = message["method"]
    if method == "initialize":
        return {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "tracker", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [tool("list_issues"), tool("delete_project")]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": "done"}], "isError": False}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result(message)}
        print(json.dumps(answer), flush=True)
