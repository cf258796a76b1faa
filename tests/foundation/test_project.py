"""The project's own files: the lock, the pages, the targets."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.cli import COMMANDS
from schemas.settings import SECRETS, VARIABLES, Settings
from tests.services.run import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.lock", "deploy/requirements.lock")


def pins(lock: str) -> dict[str, set[str]]:
    """Name and versions (one per platform or Python) of everything in a lock file."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def test_the_lock_has_every_dependency_in_a_version_that_the_project_allows() -> None:
    locked = pins("requirements.lock")
    everything = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    for requirement in map(Requirement, everything):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not locked: make lock"
        assert all(map(requirement.specifier.contains, versions)), f"{requirement} is locked as {versions}: make lock"


def test_the_image_gets_the_same_versions_and_only_what_it_needs() -> None:
    everything, image = pins("requirements.lock"), pins("deploy/requirements.lock")
    assert all(versions <= everything[name] for name, versions in image.items())
    assert not {"pytest", "mypy", "ruff"} & set(image)
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert canonicalize_name(requirement.name) in image


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", text.strip()))


def test_the_page_of_settings_names_every_setting_its_default_and_whether_it_is_secret() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert [name for name, _, _ in rows] == list(VARIABLES)
    for name, shown, meaning in rows:
        default = Settings.model_fields[VARIABLES[name]].default
        words = {None: "", "": "empty", True: "`true`", False: "`false`"}
        known = isinstance(default, bool) or default in {None, ""}
        assert shown == (words[default] if known else f"`{default}`"), name
        assert ("*secret*" in meaning) == (name in SECRETS), name


def test_the_readme_begins_with_what_it_is_a_picture_and_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("make up") < readme.index("make test") < readme.index("```mermaid")
    for page in re.findall(r"\]\(((?!http)[^)#]+)\)", readme):
        assert (ROOT / page).exists(), page


def test_make_runs_what_ci_runs() -> None:
    makefile, run = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()
    for target in ("up", "test", "check", "bench"):
        assert re.search(rf"^{target}: \$\(READY\)$", makefile, re.MULTILINE), target
    assert [line for line in run.splitlines() if line.startswith("make ")] == ["make check", "make test"]
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_every_command_has_a_summary_of_one_sentence() -> None:
    assert all(re.fullmatch(r"[A-Z].*[^.]\.", command.summary) for command in COMMANDS)
