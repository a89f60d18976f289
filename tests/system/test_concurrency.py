"""Many cords at once, several of them on the same key; ``make prove`` plays it longer, and on Celery."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prove import prove

pytestmark = [pytest.mark.system, pytest.mark.postgres, pytest.mark.mariadb]

PULLS, SEED = 12, 58


def test_no_late_start_however_many_pull_at_once(tmp_path: Path, backend: str) -> None:
    verdict = prove(tmp_path, database=backend, pulls=PULLS, at_once=PULLS, seed=SEED)
    print(verdict.figures)
    assert verdict.complaints == []
