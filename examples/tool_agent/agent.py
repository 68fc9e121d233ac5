"""An agent with tools: the model names one, its result goes back to the model, until it gives an answer."""

import argparse
import asyncio

import aiohttp

from orchestrator import Constant, Context, Orchestrator

TURNS_MAX = 5


async def ask(model: str, messages: list[str]) -> str:
    print(f"asking the model, turn {len(messages)}", flush=True)
    asked = {"role": "agent", "messages": messages}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{model}/complete", json=asked) as answer,
    ):
        text: str = (await answer.json())["text"]
        return text


def calculate(expression: str) -> str:
    """Add up what stands between plus signs: a tool that needs no model."""
    print(f"calculating {expression}", flush=True)
    return str(sum(int(part) for part in expression.split("+")))


def search(question: str) -> str:
    """Stand for a search in somebody's documents."""
    print(f"searching for {question}", flush=True)
    return f"what is known about {question.rstrip('?')}"


async def agent(ctx: Context, model: str, question: str) -> str:
    messages = [question]
    for _ in range(TURNS_MAX):
        step, _, given = (await ctx.run(ask, model, messages)).partition(" ")
        match step:
            case "calculate":
                messages.append(f"result {await ctx.run(calculate, given)}")
            case "search":
                messages.append(f"result {await ctx.run(search, given)}")
            case _:
                return given
    return "no answer"


async def main(at: str, model: str, question: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(ask, retry=Constant(delay_s=0.5))
    app.register(agent)
    async with app:
        print(await app.run(f"agent-{question}", agent, model, question))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("question", help="such as 2+3; the same question is the same run")
    parser.add_argument("--model", default="http://127.0.0.1:8091", help="the model: ../stand_ins/model.py")
    parser.add_argument("--at", default="sqlite:///agent.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
