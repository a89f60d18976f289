"""The pages are announced where their bundle is, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.api_fastapi.core_api.datamodels.plugins import ReactAppResponse
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_lean_provider import ui
from airflow_lean_provider.api import pages
from airflow_lean_provider.brake import doctor


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "main.js"
    path.write_text("globalThis.Andon = () => null;")
    monkeypatch.setattr(ui, "DIST", tmp_path)
    monkeypatch.setattr(ui, "BUNDLE", path)
    return path


@pytest.fixture
def no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "DIST", tmp_path)
    monkeypatch.setattr(ui, "BUNDLE", tmp_path / "main.js")


def served(path: str) -> int:
    app = FastAPI()
    pages.mount(app)
    return TestClient(app).get(path).status_code


@pytest.mark.usefixtures("no_bundle")
def test_without_a_bundle_there_are_no_pages_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert ui.react_apps() == []
    assert served("/pages/main.js") == 404
    assert "make ui" in caplog.text
    assert "make ui" in doctor._pages().detail
    assert doctor._pages().fine


@pytest.mark.usefixtures("bundle")
def test_with_a_bundle_airflow_takes_every_page() -> None:
    apps = [ReactAppResponse.model_validate(app) for app in ui.react_apps()]
    assert {app.destination for app in apps} == {
        *("nav", "dag", "dag_run", "task", "task_instance", "base", "dashboard")
    }
    assert len({app.url_route for app in apps}) == len(apps)
    assert served("/pages/main.js") == 200
    assert doctor._pages().detail == ""


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(
    ("base_url", "prefix"),
    [("http://airflow.example", ""), ("https://example.com/", ""), ("https://example.com/a/b/", "/a/b")],
)
def test_the_bundle_is_found_below_a_sub_path(
    base_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    board = ui.react_apps()[0]
    assert board["bundle_url"].startswith(f"{prefix}/andon/pages/main.js?v=")
    assert board["icon"] == f"{prefix}/andon/pages/andon.svg"


def test_a_new_bundle_has_a_new_address(bundle: Path) -> None:
    before = ui.react_apps()[0]["bundle_url"]
    bundle.write_text("globalThis.Andon = () => 1;")
    assert ui.react_apps()[0]["bundle_url"] != before


@pytest.mark.skipif(
    not (Path(ui.__file__).parent / "src").exists(), reason="the sources are not in the package"
)
def test_the_source_registers_every_name_that_is_announced() -> None:
    source = (Path(ui.__file__).parent / "src" / "main.tsx").read_text()
    registered = source.rpartition("Object.assign(globalThis, {")[2]
    for name in (ui.APP, ui.ASSET_BANNER, ui.CARD):
        assert name in registered
