"""Speaks to `resident mcp` with the official client of the Model Context Protocol, for mcp.rs.

Arguments: the program with its arguments. It serves the collection `notes` with the file `ships.md`.
"""

import asyncio
import json
import sys

import mcp


async def main(command, *arguments):
    server = mcp.StdioServerParameters(command=command, args=list(arguments))
    async with mcp.Client(server, read_timeout_seconds=60) as client:
        assert client.server_info.name == "resident", client.server_info
        assert "data" in client.instructions, client.instructions
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"search", "read"}, tools
        assert "query" in tools["search"].input_schema["properties"], tools["search"]

        # The client holds what comes against the schema that the tool says.
        found = await client.call_tool("search", {"query": "When did the Vasa sink?", "kinds": ["md"]})
        assert not found.is_error, found
        best = found.structured_content["passages"][0]
        assert best["path"].endswith("ships.md") and "1628" in best["text"], best
        assert json.loads(found.content[0].text) == found.structured_content, found

        around = await client.call_tool("read", {"passage": best["number"], "neighbours": 1})
        assert "1628" in around.structured_content["text"], around
        whole = await client.call_tool("read", {"path": best["path"]})
        assert whole.structured_content["passages"][0]["number"] == best["number"], whole

        refused = await client.call_tool("search", {"query": "x", "collections": ["nowhere"]})
        assert refused.is_error and "notes" in refused.content[0].text, refused


asyncio.run(main(*sys.argv[1:]))
