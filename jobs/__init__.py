"""The commands of the hub, one thin module each; each also runs under spark-submit.

Where to look:

pipeline      push, ingest, organize, train, evaluate, predict, demo: from phone uploads to a model
uploads       rejects, replay, erase: rejected uploads, and users erased
queries       sql, model_registry: Spark SQL, and `hub models`
services      services: broker up, down and status; TensorBoard
command line  hub, cli: the `hub` command, its flags, errors, tables and live line
"""

import sys
from pathlib import Path

# `spark-submit jobs/NAME.py` puts this folder first on sys.path, where organize.py would hide the package.
_FOLDER = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != _FOLDER]
