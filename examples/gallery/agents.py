"""Models, and what is built around them: no answer is paid for twice."""

from __future__ import annotations

from examples.gallery.example import Example
from examples.stage import Crash, Stage

TITLE = "Agents"


async def agents(stage: Stage) -> str:
    """Crash before the second of three answers."""
    return await stage.run(
        "agents/agents.py", "salt", *await _model(stage), crash=Crash(step="ask", number=2)
    )


async def chat(stage: Stage) -> str:
    """Crash when the second turn has been answered; it is not asked for again."""
    program, model = "chat/chat.py", await _model(stage)
    await (await stage.start(program, "ada", "1", "hello", *model)).result()
    return await stage.run(program, "ada", "2", "goodbye", *model, crash=Crash(step="remember"))


async def tool_agent(stage: Stage) -> str:
    """Crash as the tool is about to be used; another question takes another tool."""
    program, model = "tool_agent/agent.py", await _model(stage)
    summed = await stage.run(program, "2+3", *model, crash=Crash(step="calculate"))
    found = await stage.start(program, "why?", *model)
    return f"{summed}; {await found.result()}"


async def mcp_workflow(stage: Stage) -> str:
    """Crash the MCP server before the last answer; the assistant starts it again and repeats its call."""
    calls = ('write_article={"topic": "salt"}',)
    return await _assisted(stage, calls, Crash(step="ask", number=3), "mcp_workflow", *await _model(stage))


async def mcp_job(stage: Stage) -> str:
    """Crash the MCP server at the last page, while the job is awaited."""
    job = '{"job": "convert-atlas"}'
    calls = ('start={"document": "atlas", "pages": 3}', f"await={job}", f"probe={job}")
    return await _assisted(stage, calls, Crash(step="convert", number=3), "mcp_job", "--pause-s", "0.2")


async def _assisted(stage: Stage, calls: tuple[str, ...], crash: Crash, folder: str, *arguments: str) -> str:
    """Have an assistant start an MCP server and make its calls; return what it was answered last.

    The crash counts executions within one process: the next server, with fewer left, does not reach it.
    """
    server = stage.inner(f"{folder}/server.py", *arguments, crash=crash)
    return await (await stage.start("stand_ins/assistant.py", *calls, "--server", *server)).result()


async def _model(stage: Stage) -> tuple[str, str]:
    model = await stage.start("stand_ins/model.py", "--port", "0")
    return "--model", (await model.line("http://")).split()[3]


EXAMPLES = (
    Example(
        folder="agents",
        problem="Agents in sequence, each answer paid for once",
        crash="before the second answer",
        root="article-salt",
        store="agents.db",
        play=agents,
    ),
    Example(
        folder="chat",
        problem="A conversation of many turns",
        crash="when the second turn is answered",
        root="chat-ada-2",
        store="chat.db",
        play=chat,
    ),
    Example(
        folder="tool_agent",
        problem="A model that chooses its tools",
        crash="as the tool is about to be used",
        root="agent-2+3",
        store="agent.db",
        play=tool_agent,
    ),
    Example(
        folder="mcp_workflow",
        problem="A tool for assistants (MCP) that calls a workflow",
        crash="of the MCP server, before the last answer",
        root="article-salt",
        store="articles.db",
        play=mcp_workflow,
    ),
    Example(
        folder="mcp_job",
        problem="Jobs that an assistant (MCP) starts, probes and awaits",
        crash="of the MCP server, at the last page",
        root="convert-atlas",
        store="conversions.db",
        play=mcp_job,
    ),
)
