"""A conversation that survives: every turn is an invocation of its own, keyed by session and turn."""

import argparse
import asyncio

import aiohttp

from orchestrator import Constant, Context, Orchestrator


async def ask(model: str, messages: list[str]) -> str:
    """Ask the model for its answer to a whole conversation."""
    print(f"asking about {len(messages)} messages", flush=True)
    asked = {"role": "chat", "messages": messages}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{model}/complete", json=asked) as answer,
    ):
        text: str = (await answer.json())["text"]
        return text


def remember(session: str, turn: int) -> None:
    print(f"remembering turn {turn} of {session}", flush=True)


async def reply(ctx: Context, model: str, session: str, turn: int, text: str) -> list[str]:
    """Answer a turn; return the conversation up to its end."""
    # The turn before is attached to, not asked again: its result is what was said so far.
    before = await ctx.promise(f"chat-{session}-{turn - 1}") if turn > 1 else []
    messages = [*before, text]
    answer = await ctx.run(ask, model, messages)
    await ctx.run(remember, session, turn)
    return [*messages, answer]


async def main(at: str, model: str, session: str, turn: int, text: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(ask, retry=Constant(delay_s=0.5))
    app.register(reply)
    async with app:
        messages = await app.run(f"chat-{session}-{turn}", reply, model, session, turn, text)
        print(messages[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("session", help="the conversation")
    parser.add_argument("turn", type=int, help="from 1: the same turn is answered once")
    parser.add_argument("text", help="what you say")
    parser.add_argument("--model", default="http://127.0.0.1:8091", help="the model: ../stand_ins/model.py")
    parser.add_argument("--at", default="sqlite:///chat.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
