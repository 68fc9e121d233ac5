"""The verifier for browsers: one HTML file without a build step, a server or anything to load.

Its content security policy names the hashes of its own script and style, so nothing else can run in it; who
edits the page writes them anew with `python -m scorers.verifier`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

PAGE = Path(__file__).with_name("verifier.html")


def sealed(page: str) -> str:
    """Return the page with the hashes of its script and its style in its policy."""
    for tag in ("script", "style"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        content = found.group(1) if found else ""
        digest = b64encode(sha256(content.encode()).digest()).decode()
        page = re.sub(rf"{tag}-src '[^']*'", f"{tag}-src 'sha256-{digest}'", page, count=1)
    return page


def seal() -> None:
    """Seal the page in its place."""
    PAGE.write_text(sealed(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
