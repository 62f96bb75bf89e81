"""The worst deviations of each stage on each backend as a Markdown table: `python tests/parity/table.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")


def main(folder: Path) -> None:
    """Reads `worst_BACKEND.json`, as the tests left them, and writes `worst.json` with all of them."""
    files = {backend: folder / f"worst_{backend}.json" for backend in BACKENDS}
    worst = {backend: json.loads(file.read_text()) for backend, file in files.items() if file.exists()}
    (folder / "worst.json").write_text(json.dumps(worst, indent=1))
    lines = ["| stage: worst of all images | " + " | ".join(worst) + " |", "|---" * (len(worst) + 1) + "|"]
    for stage in dict.fromkeys(stage for stages in worst.values() for stage in stages):
        found = [stages.get(stage) for stages in worst.values()]
        cells = [f"{value['deviation']:.2g} ({value['case']})" if value else "not run" for value in found]
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
