"""The main program of a process that runs leaf functions for its parent.

It reads calls from standard input and writes answers to what was standard output; what functions print goes
to standard error. When the parent is gone, it ends at once, in the middle of a function, too.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import runpy
import signal
import sys
import threading
from functools import lru_cache
from typing import Any, BinaryIO

from orchestrator.client import codec
from orchestrator.client.child_frames import FRAME_HEAD
from orchestrator.client.info import Info
from orchestrator.client.registry import RegisteredFunction, describe
from orchestrator.client.surroundings import Dependencies

MAIN = "__mp_main__"
"""The name under which a script is run again, as multiprocessing has it: its `__main__` part is left out."""
CAUSES_MAX = 8


class Answers:
    """Writes frames; from any thread."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, answer: dict[str, object]) -> None:
        """Write one frame."""
        body = json.dumps(answer).encode()
        with self._lock:
            self._pipe.write(FRAME_HEAD.pack(len(body)) + body)
            self._pipe.flush()


def main() -> None:
    """Carry out calls until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    calls: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, calls), daemon=True).start()
    while True:
        answers.send(_carried_out(calls.get(), answers))


def _read(pipe: BinaryIO, calls: queue.SimpleQueue[dict[str, Any]]) -> None:
    while head := pipe.read(FRAME_HEAD.size):
        calls.put(json.loads(pipe.read(FRAME_HEAD.unpack(head)[0])))
    os._exit(0)


def _carried_out(call: dict[str, Any], answers: Answers) -> dict[str, object]:
    try:
        function = _function(call["module"], call["qualified_name"], call["main"])
        args, kwargs = function.decode_arguments(call["args"], call["kwargs"])
        if function.inserted:
            args = [_info(call, answers), *args]
        answers.send({"begun": True})
        result = function.fn(*args, **kwargs)
        return {"result": codec.encode(result, f"the result of {call['name']}")}
    except Exception as error:
        return {"error": _told(error, CAUSES_MAX)}


@lru_cache(maxsize=1024)
def _function(module: str, qualified_name: str, main_file: str | None) -> RegisteredFunction:
    if main_file is None:
        found: Any = importlib.import_module(module)
    else:
        found = _script(main_file)
    for part in qualified_name.split("."):
        found = getattr(found, part)
    return describe(found)


@lru_cache(maxsize=1)
def _script(file: str) -> object:
    module = type(sys)(MAIN)
    # Known before it runs: dataclasses look up their module by name.
    sys.modules[MAIN] = module
    vars(module).update(runpy.run_path(file, run_name=MAIN))
    return module


def _info(call: dict[str, Any], answers: Answers) -> Info:
    info = Info(
        promise_id=call["promise_id"],
        name=call["name"],
        version=call["version"],
        attempt=call["attempt"],
        dependencies=Dependencies("a process of its own has none"),
        progress=call["progress"],
    )
    info.heard_by(lambda tree: answers.send({"heartbeat": tree}))
    return info


def _told(error: BaseException, causes_max: int) -> dict[str, object]:
    told: dict[str, object] = {
        "name": type(error).__name__,
        "types": [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__],
        "message": str(error),
        "retryable": bool(getattr(error, "retryable", True)),
    }
    data = getattr(error, "data", None)
    if data is not None:
        try:
            told["data"] = codec.encode(data, "data")
        except codec.EncodingError as unfit:
            told["data"] = f"(left out: {unfit.reason})"
    if error.__cause__ is not None and causes_max:
        told["cause"] = _told(error.__cause__, causes_max - 1)
    return told


if __name__ == "__main__":
    main()
