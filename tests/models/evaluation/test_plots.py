"""Plots look the same on every machine."""

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = "text.usetex: True\nfigure.dpi: 7\n"  # LaTeX is hardly ever installed


def test_plots_follow_no_matplotlibrc_of_another_project(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text(SETTINGS)
    code = (
        "import matplotlib\n"
        "assert matplotlib.rcParams['text.usetex'], 'this machine reads no matplotlibrc'\n"
        "from models.evaluation import plots\n"
        "print(len(plots.curves([])) > 1000, matplotlib.rcParams['figure.dpi'])"
    )
    environment = os.environ | {"MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "True 100.0\n", done.stderr
