import json
from importlib import resources
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from ops.rules import register
from schemas.ruleset import load_default

ACADEMY = str(resources.files("schemas").joinpath("rulesets", "academy.toml"))


def lint(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["rules", "lint", *arguments])


def broken(folder: Path) -> str:
    file = folder / "broken.toml"
    file.write_text(Path(ACADEMY).read_text(encoding="utf-8").replace("xp = 500", "xp = -1").replace("digits = 4", ""))
    return str(file)


def test_a_sound_ruleset_is_named_with_its_hash() -> None:
    result = lint(ACADEMY)
    assert result.exit_code == 0
    assert result.stdout == f"{ACADEMY}: ok, academy {load_default().hash}\n"


def test_every_problem_of_every_file_is_listed(tmp_path: Path) -> None:
    file = broken(tmp_path)
    result = lint(ACADEMY, file)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        f"{file}: tournament[0].xp: Expected `int` >= 0",
        f"{file}: rating.digits: missing",
    ]


def test_json_says_the_same_in_one_object(tmp_path: Path) -> None:
    file = broken(tmp_path)
    result = lint("--json", file, ACADEMY)
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "files": [
            {"file": file, "problems": ["tournament[0].xp: Expected `int` >= 0", "rating.digits: missing"]},
            {"file": ACADEMY, "ruleset": "academy", "hash": load_default().hash},
        ],
    }


def test_a_file_that_cannot_be_read_is_a_problem_like_any_other(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff")
    missing = tmp_path / "missing.toml"
    result = lint(str(missing), str(binary), str(tmp_path))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{missing}: cannot be read: No such file or directory",
        f"{binary}: not UTF-8 at byte 0",
        f"{tmp_path}: cannot be read: Is a directory",
    ]


def test_linting_nothing_is_a_wrong_use() -> None:
    assert lint().exit_code == 2
