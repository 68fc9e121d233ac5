"""Models, and what is built around them: no answer is paid for twice."""

from __future__ import annotations

from examples.gallery.example import Example
from examples.stage import Crash, Stage


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
)
