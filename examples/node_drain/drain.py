"""Drain a node of a cluster, pod by pod; where a pod may not be evicted, wait until an operator decides."""

import argparse
import asyncio
from typing import Any

import aiohttp

from orchestrator import Constant, Context, Orchestrator

WEEK_S = 7 * 24 * 3600.0
PODS = "/api/v1/namespaces/default/pods"
GONE, FORBIDDEN = 404, 429


async def call(method: str, url: str, body: Any = None, *, bearing: tuple[int, ...] = ()) -> tuple[int, Any]:
    """Ask the cluster. A failure is raised, and tried again, unless its status is an answer here."""
    async with aiohttp.ClientSession() as session, session.request(method, url, json=body) as answer:
        if answer.status not in bearing:
            answer.raise_for_status()
        return answer.status, await answer.json()


async def cordon(cluster: str, node: str) -> None:
    print(f"cordoning {node}", flush=True)
    await call("PATCH", f"{cluster}/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})


async def pods_on(cluster: str, node: str) -> list[str]:
    _, found = await call("GET", f"{cluster}/api/v1/pods?fieldSelector=spec.nodeName={node}")
    return [pod["metadata"]["name"] for pod in found["items"]]


async def evict(cluster: str, pod: str) -> bool:
    """Return False where a disruption budget forbids it, which another attempt would not change."""
    print(f"evicting {pod}", flush=True)
    status, _ = await call("POST", f"{cluster}{PODS}/{pod}/eviction", {}, bearing=(GONE, FORBIDDEN))
    return status != FORBIDDEN


def ask(pod: str, node: str) -> None:
    print(f"{pod} may not be evicted: drain.py decide {node} {pod} delete, or keep", flush=True)


async def delete(cluster: str, pod: str) -> None:
    print(f"deleting {pod}", flush=True)
    await call("DELETE", f"{cluster}{PODS}/{pod}", bearing=(GONE,))


async def drain(ctx: Context, cluster: str, node: str) -> str:
    await ctx.run(cordon, cluster, node)
    kept = []
    for pod in await ctx.run(pods_on, cluster, node):
        if await ctx.run(evict, cluster, pod):
            continue
        decision = ctx.promise(f"decision-{node}-{pod}", timeout_s=WEEK_S)
        await ctx.run(ask, pod, node)
        if await decision == "delete":
            await ctx.run(delete, cluster, pod)
        else:
            kept.append(pod)
    return f"{node} keeps {', '.join(kept)}" if kept else f"{node} is empty"


async def begin(at: str, cluster: str, node: str) -> None:
    app = Orchestrator.remote(at, group="drains", ttl_ms=2_000)
    for function in (cordon, pods_on, evict, delete):
        app.register(function, retry=Constant(delay_s=0.5))
    app.register(drain)
    async with app:
        print(await app.run(f"drain-{node}", drain, cluster, node))


async def decide(at: str, node: str, pod: str, decision: str) -> None:
    async with Orchestrator.remote(at, group="drains", worker=False) as app:
        promise_id = f"decision-{node}-{pod}"
        await app.promises.create(promise_id)  # the answer may come before the question
        print(f"{promise_id} {(await app.promises.resolve(promise_id, decision)).state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="begin | decide")
    for command, words in ((begin, "drain a node, or go on with it"), (decide, "decide on a pod")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        added.add_argument("node", help="such as node-1: the same node is the same drain")
    commands.choices["begin"].add_argument(
        "--cluster", default="http://127.0.0.1:8093", help="the cluster: ../stand_ins/cluster.py"
    )
    commands.choices["decide"].add_argument("pod", help="the pod that is asked about")
    commands.choices["decide"].add_argument("decision", choices=("delete", "keep"))
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
