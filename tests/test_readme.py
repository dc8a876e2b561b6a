"""The README says what is there: its tree against the disk, its configuration and commands against the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from plait.config import RunConfig, make_config
from plait.errors import UserError

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = (".py", ".yaml", ".json")


def tree_in_readme() -> dict[str, str]:
    """Path → its line's words. Two spaces of indentation per folder."""
    block = README.split("<!-- tree -->\n```\n")[1].split("```")[0]
    found: dict[str, str] = {}
    parents: list[str] = []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, words = line.strip().partition(" ")
        del parents[depth:]
        parents.append(name)
        found["".join(parents)] = words.strip()
    return found


def tree_on_disk() -> set[str]:
    """Every file of the package except the folders' own and the entry point."""
    package = ROOT / "src" / "plait"
    files = {p for p in package.rglob("*") if p.suffix in SHOWN and p.name not in ("__init__.py", "__main__.py")}
    return {str(p.relative_to(ROOT)) for p in files}


def test_the_tree_is_the_disk():
    named = {path for path in tree_in_readme() if not path.endswith("/")}
    assert not tree_on_disk() - named, "give these a line in the README's tree"
    assert not named - tree_on_disk(), "these are in the README's tree and not on the disk"


def test_every_folder_of_the_tree_exists_and_every_line_says_something():
    for path, words in tree_in_readme().items():
        assert (ROOT / path).exists(), path
        assert words or path == "src/plait/", path


def test_the_configuration_in_the_readme_is_one():
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        assert isinstance(make_config(yaml.safe_load(block)), RunConfig)


def test_the_commands_in_the_readme_exist():
    from plait.cli.app import app

    known = {info.name or info.callback.__name__ for info in app.registered_commands if info.callback} | {"data"}
    used = set(re.findall(r"^ {4}plait ([a-z]+)", README, re.MULTILINE))
    assert used
    assert used <= known


def test_the_manifest_in_the_readme_is_one(tmp_path: Path):
    from plait.data.manifest import read_manifest
    from tiny_data import draw, sing

    (block,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    (tmp_path / "manifest.jsonl").write_text(block, encoding="utf-8")
    for name in ("7.png", "8a.png", "8b.png"):
        draw(tmp_path / name, "red")
    sing(tmp_path / "7.wav", "low")
    samples = read_manifest(tmp_path / "manifest.jsonl").samples
    assert [len(sample.references) for sample in samples] == [1, 2]


def test_the_calls_in_the_readme_are_public():
    import plait

    for name in re.findall(r"plait\.(\w+)\(", README):
        assert name in plait.__all__
    assert issubclass(plait.UserError, UserError)


@pytest.mark.parametrize("name", ["LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", ".ci/run"])
def test_the_project_has_its_files(name: str):
    assert (ROOT / name).stat().st_size > 0


def test_every_command_that_a_message_or_a_page_names_exists():
    """Previously, a message said "See plait check-data"; the command is `plait data check`."""
    from typer.main import get_command

    from plait.cli.app import app

    known = set(get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]
    prose = {"that", "reads", "wrote", "import", "in"}
    files = [p for p in (ROOT / "src").rglob("*") if p.suffix in (".py", ".html", ".yaml")]
    files += [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for file in files:
        if file.name in ("LOG.md", "CHANGELOG.md"):  # they tell of what was
            continue
        for word in re.findall(r"\bplait ([a-z][a-z-]*)", file.read_text(encoding="utf-8")):
            assert word in known | prose, f"{file}: plait {word}"
