"""The path by which `search/search_efficiency.py` is known to scripts."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    script = Path(__file__).parent / "search" / "search_efficiency.py"
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")
