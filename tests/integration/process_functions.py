"""Functions that the tests run in processes of their own, which find them here by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from orchestrator import Info


@dataclass(frozen=True)
class Weights:
    shares: dict[str, Decimal]
    blob: bytes


class Hopeless(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.data = {"why": Decimal(7)}


def doubled(weights: Weights) -> Weights:
    print("not part of the answer")  # noqa: T201 - standard output must not disturb the pipe
    return Weights({name: 2 * share for name, share in weights.shares.items()}, weights.blob * 2)


def process_id() -> int:
    time.sleep(0.05)
    return os.getpid()


def dies_once(info: Info, folder: str) -> int:
    if info.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return info.attempt


def hangs(folder: str) -> None:
    (Path(folder) / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(1)


def hangs_once(info: Info) -> int:
    while info.attempt == 1:
        time.sleep(1)
    return info.attempt


def beats(info: Info) -> int:
    for _ in range(8):
        time.sleep(0.1)
        info.heartbeat()
    return info.attempt


def fails(info: Info) -> None:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise Hopeless(f"attempt {info.attempt}") from error


def wants_dependency(info: Info) -> str:
    return str(info.dependency("database"))


def gives_nothing_storable() -> object:
    return object()
