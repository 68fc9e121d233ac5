"""`python -m scorers.verifier`: writes the hashes of the page's script and style anew, after an edit."""

from __future__ import annotations

from scorers.verifier import seal

if __name__ == "__main__":
    seal()
