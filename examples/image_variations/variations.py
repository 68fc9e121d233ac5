"""Order variations of an image from a provider that charges for each, all at once and none twice."""

import argparse
import asyncio

import aiohttp

from orchestrator import Constant, Context, Info, Orchestrator

STYLES = ("oil", "ink", "pixels", "chalk", "neon", "wood")


async def paint(info: Info, painter: str, prompt: str) -> str:
    """Order an image. The promise's id is the key by which the provider knows an order that comes again."""
    print(f"ordering {prompt}", flush=True)
    headers = {"Idempotency-Key": info.promise_id}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{painter}/images", json={"prompt": prompt}, headers=headers) as answer,
    ):
        image: str = (await answer.json())["image"]
        return image


def hang_up(prompt: str, images: list[str]) -> str:
    print(f"hanging up {len(images)} images", flush=True)
    return f"{prompt}: {' '.join(images)}"


async def variations(ctx: Context, painter: str, prompt: str, number: int) -> str:
    ordered = [ctx.begin_run(paint, painter, f"{prompt} in {style}") for style in STYLES[:number]]
    return await ctx.run(hang_up, prompt, await ctx.gather(*ordered))


async def main(at: str, painter: str, prompt: str, number: int) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(paint, retry=Constant(delay_s=0.5))
    app.register(variations)
    async with app:
        print(await app.run(f"images-{prompt}-{number}", variations, painter, prompt, number))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt", help="what to paint: the same words are the same order")
    parser.add_argument("--number", type=int, default=4, choices=range(1, len(STYLES) + 1), help="of images")
    parser.add_argument("--painter", default="http://127.0.0.1:8092", help="see ../stand_ins/painter.py")
    parser.add_argument("--at", default="sqlite:///images.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
