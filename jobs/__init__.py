"""The commands of the hub, one thin module each; each also runs under spark-submit.

Where to look:

pipeline      push, ingest, organize, train, evaluate, predict, demo: from phone uploads to a model
near copies   duplicates: groups of near duplicates, and which copy is best
uploads       rejects, replay, erase: rejected uploads, and users erased
curation      curate: clusters, labels, reviews of doubtful labels, decisions about them
datasets      dataset_catalogue: `hub datasets`
queries       sql, model_registry, report: Spark SQL, `hub models`, and the HTML report
services      services: broker up, down and status; TensorBoard; the web server and its accounts
command line  hub, cli: the `hub` command, its flags, errors, tables and live line
"""

import os
import sys
from pathlib import Path

# `spark-submit jobs/NAME.py` puts this folder first on sys.path, where organize.py would hide the package.
_FOLDER = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != _FOLDER]
# PYTHONPATH may name a folder with a conf.py or a models/ of the user's: the hub's packages come first.
if os.environ.get("PYTHONPATH"):
    sys.path.insert(0, str(_FOLDER.parent))
