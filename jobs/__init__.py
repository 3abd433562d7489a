"""One thin file per command; each also runs under spark-submit."""

import sys
from pathlib import Path

# `spark-submit jobs/NAME.py` puts this folder first on the path, where organize.py would hide the package.
_FOLDER = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != _FOLDER]
