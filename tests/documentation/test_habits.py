"""What stands around the code says the same as the code: hooks and `make lint`, versions, what an issue asks for, the gallery."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import neuro
from twinspike.commands import COMMANDS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "site"))

from pictures import GALLERY, drawing  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def test_the_hooks_are_make_lint() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = re.search(r"^lint: setup\n((?:\t.+\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    lint = [line.replace("$(BIN)", ".venv/bin") for line in recipe[1].split("\n\t")]
    (local,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == [line.strip() for line in lint] and len(lint) == 6
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in local["hooks"])


def test_versions_are_one() -> None:
    assert read(ROOT / "CITATION.cff")["version"] == PROJECT["project"]["version"] == neuro.__version__
    assert read(ROOT / "CITATION.cff")["cff-version"] == "1.2.0"


def test_what_the_site_needs_is_pinned() -> None:
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()}
    wanted = [*PROJECT["project"]["optional-dependencies"]["docs"], "codespell"]
    assert [need for need in wanted if re.split(r"[<>=]", need)[0] not in pinned] == []


@pytest.mark.parametrize("path", [t for t in TEMPLATES if t.stem != "config"], ids=lambda p: p.stem)
def test_an_issue_asks_for_a_minimal_network(path: Path) -> None:
    fields = {field["id"]: field for field in read(path)["body"]}
    assert (
        "minimal network" in fields["network"]["attributes"]["label"] and fields["network"]["validations"]["required"]
    )
    if path.stem != "wish":
        (command,) = re.findall(r"`twinspike (\w+)`", fields["versions"]["attributes"]["description"])
        assert command in COMMANDS


def test_the_gallery_has_pictures_of_studies() -> None:
    pictures = sorted(GALLERY.glob("*.svg"))
    assert len(pictures) > 8 and sum(p.stat().st_size for p in pictures) < 2**20
    assert [p.name for p in pictures if not any(p.name.startswith(f"{name}-") for name in drawing())] == []
    assert [
        p.name for p in pictures if "<dc:date>" in p.read_text("utf-8") or "https://fonts" in p.read_text("utf-8")
    ] == []
