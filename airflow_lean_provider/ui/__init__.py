"""
The pages in Airflow's UI: which there are, and whether their bundle was built.

The bundle (``make ui``) is one file that puts each app under its name into ``globalThis``, where Airflow's
pages look for it after ``import(bundle_url)``. A checkout without it works, without pages.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf

DIST = Path(__file__).parent / "dist"
BUNDLE = DIST / "main.js"
URL_PREFIX = "/andon/pages"
"""Where the api-server serves :data:`DIST`."""

APP, ASSET_BANNER, CARD = "Andon", "AndonAssetBanner", "AndonLine"
"""Names under which the bundle registers its components; the first is what people read on tabs."""

_PLACES = ("dag", "dag_run", "task", "task_instance")


def is_built() -> bool:
    """Tell whether there is a bundle."""
    return BUNDLE.is_file()


def react_apps() -> list[dict[str, Any]]:
    """Return the pages as Airflow's plugin manager takes them; none without a bundle."""
    if not is_built():
        return []
    version = hashlib.sha256(BUNDLE.read_bytes()).hexdigest()[:12]
    bundle = {"bundle_url": f"{_url('main.js')}?v={version}"}
    looks = {"icon": _url("andon.svg")}
    return [
        {"name": APP, "url_route": "andon", "destination": "nav", "nav_top_level": True, **looks, **bundle},
        *({"name": APP, "url_route": f"andon_{p}", "destination": p, **looks, **bundle} for p in _PLACES),
        {"name": ASSET_BANNER, "url_route": "andon_asset", "destination": "base", **bundle},
        {"name": CARD, "url_route": "andon_line", "destination": "dashboard", **bundle},
    ]


def _url(name: str) -> str:
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{base}{URL_PREFIX}/{name}"
