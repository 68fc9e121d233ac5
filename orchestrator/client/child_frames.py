"""How a process of leaf functions and its parent speak: frames of JSON, each after its length in bytes."""

from __future__ import annotations

import struct

FRAME_HEAD = struct.Struct("!Q")
