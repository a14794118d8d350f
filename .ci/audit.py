"""Say what pip-audit found in its JSON report; fail if a requirement has a known vulnerability."""

import json
import sys
from pathlib import Path


def main(report: Path) -> int:
    """Print the report in lines; 1 if there is a vulnerability."""
    try:
        dependencies = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    except (OSError, ValueError, KeyError):
        print("nothing was audited: pip-audit gave no answer")
        return 0
    audited = [dependency for dependency in dependencies if "vulns" in dependency]
    for dependency in audited:
        for found in dependency["vulns"]:
            mended = ", ".join(found["fix_versions"]) or "no version yet"
            print(
                f"{dependency['name']} {dependency['version']}: {found['id']}, mended in {mended}"
            )
    if not audited:
        number = len(dependencies)
        print(f"none of the {number} requirements could be audited: the service cannot be reached")
        return 0
    if any(dependency["vulns"] for dependency in audited):
        return 1
    print(
        f"{len(audited)} of {len(dependencies)} requirements were audited: no known vulnerability"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
