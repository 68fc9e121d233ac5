"""A Kubernetes cluster behind the four calls that a drain needs, in memory. Its database may not be moved."""

import argparse

from aiohttp import web

PODS = {"web-0": "node-1", "db-0": "node-1", "web-1": "node-1", "web-2": "node-2"}
GUARDED = "db-"
POD = "/api/v1/namespaces/default/pods/{pod}"


def cluster() -> web.Application:
    where = dict(PODS)

    async def cordon(request: web.Request) -> web.Response:
        print(f"{request.match_info['node']} takes no more pods", flush=True)
        return web.json_response({"spec": (await request.json())["spec"]})

    async def pods(request: web.Request) -> web.Response:
        node = request.query["fieldSelector"].removeprefix("spec.nodeName=")
        named = [{"metadata": {"name": pod}} for pod, on in sorted(where.items()) if on == node]
        return web.json_response({"items": named})

    async def evict(request: web.Request) -> web.Response:
        pod = request.match_info["pod"]
        if pod.startswith(GUARDED) and pod in where:
            return web.json_response({"message": "its disruption budget forbids it"}, status=429)
        return web.json_response({}, status=201 if where.pop(pod, None) else 404)

    async def delete(request: web.Request) -> web.Response:
        return web.json_response({}, status=200 if where.pop(request.match_info["pod"], None) else 404)

    made = web.Application()
    made.router.add_patch("/api/v1/nodes/{node}", cordon)
    made.router.add_get("/api/v1/pods", pods)
    made.router.add_post(POD + "/eviction", evict)
    made.router.add_delete(POD, delete)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8093, help="0 takes a free one")
    web.run_app(cluster(), host="127.0.0.1", port=parser.parse_args().port)
