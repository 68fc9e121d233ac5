"""The verifier for browsers: one HTML file without a build step, a server or anything to load."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).with_name("verifier.html")
