"""An assistant that calls the tools of an MCP server over stdio, and starts the server again if it dies."""

import argparse
import asyncio
import json
import os
import sys
from typing import Any

from mcp import Client, MCPError, StdioServerParameters

CALL = "TOOL={...}"


async def called(server: StdioServerParameters, calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Make the calls one after the other, each until it is answered, and print what is answered."""
    while calls:
        try:
            async with Client(server) as client:
                while calls:
                    answer = await client.call_tool(*calls[0])
                    said = " ".join(getattr(part, "text", "") for part in answer.content)
                    print(f"{calls[0][0]}: {said}" if not answer.is_error else f"error: {said}", flush=True)
                    calls.pop(0)
        except* MCPError:
            print("working on: the server has died and is started again", flush=True)


def call(text: str) -> tuple[str, dict[str, Any]]:
    tool, _, arguments = text.partition("=")
    return tool, json.loads(arguments or "{}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", type=call, nargs="+", metavar=CALL, help="tools, each with its arguments")
    parser.add_argument("--server", required=True, nargs=argparse.REMAINDER, help="the server's command line")
    given = parser.parse_args()
    program, *rest = given.server
    server = StdioServerParameters(command=program, args=rest, env=dict(os.environ))
    sys.exit(asyncio.run(called(server, given.calls)))
