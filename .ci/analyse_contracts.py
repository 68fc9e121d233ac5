"""Slither's findings in contracts/src, compared with those that were judged: run by `.ci/slither`."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from crytic_compile import CryticCompile
from crytic_compile.platform.solc_standard_json import SolcStandardJson
from slither import Slither
from slither.detectors import all_detectors
from slither.detectors.abstract_detector import AbstractDetector

CONTRACTS = Path(__file__).parents[1] / "contracts"
JUDGED = CONTRACTS / "slither.json"
PLACE = re.compile(r"(\S+(?:\([^)]*\))?) \(src/")


def analysed() -> Slither:
    """Compile the sources with the committed settings and the pinned compiler."""
    os.chdir(CONTRACTS)
    project = SolcStandardJson()
    for file in sorted((CONTRACTS / "src").glob("*.sol")):
        project.add_source_file(f"src/{file.name}")
    given = project.to_dict()
    settings = json.loads((CONTRACTS / "compiler.json").read_text())
    given["settings"].update({name: settings[name] for name in ("optimizer", "evmVersion")})
    compiled = CryticCompile(SolcStandardJson(given), solc=str(CONTRACTS / "solc.mjs"))
    slither = Slither(compiled)
    for detector in vars(all_detectors).values():
        if inspect.isclass(detector) and issubclass(detector, AbstractDetector):
            slither.register_detector(detector)
    return slither


def findings(slither: Slither) -> Iterator[tuple[str, str]]:
    """Yield each finding in our own sources as its detector and the place: `Contract.function(types)`."""
    for found in slither.run_detectors():
        for finding in found:
            first = finding["elements"][0]
            if first["source_mapping"]["filename_relative"].startswith("src/"):
                named = PLACE.search(finding["description"])
                yield finding["check"], named[1] if named else finding["description"].split("\n")[0]


def main() -> int:
    """Return 1 for a finding that nobody has judged, and for a judgement of what is not found any more."""
    logging.disable(logging.WARNING)
    judged = {(each["check"], each["place"]): each["reason"] for each in json.loads(JUDGED.read_text())}
    found = set(findings(analysed()))
    for check, place in sorted(found - set(judged)):
        print(f"slither: {check} at {place}: mend it, or give the reason in {JUDGED.name}")  # noqa: T201
    for check, place in sorted(set(judged) - found):
        print(f"slither: {check} at {place} is not found any more: take it out of {JUDGED.name}")  # noqa: T201
    print(f"slither: {len(found)} findings, {len(set(judged) & found)} of them judged")  # noqa: T201
    return 0 if found == set(judged) else 1


if __name__ == "__main__":
    sys.exit(main())
