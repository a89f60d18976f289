"""
The story of one bad hour, played in a real Airflow: ``python -m demo``.

The narrator shares a few modules with the Dags of the shop, and finds them as Airflow does: in the Dags
folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

DAGS_FOLDER = Path(__file__).resolve().parent.parent / "dags_examples"
if str(DAGS_FOLDER) not in sys.path:
    sys.path.append(str(DAGS_FOLDER))
