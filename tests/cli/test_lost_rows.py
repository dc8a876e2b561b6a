"""Rows that are lost are said by every command that reads data, most of them lost stops training, and all say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_helpers import Shell
from PIL import Image

from plait.config import make_config, read_config
from plait.config.before import as_written
from tiny_data import tiny_tree


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(number: int = 40, **fields: Any) -> list[dict[str, Any]]:
    """Rows of all splits; `fields` may be functions of the row's number."""
    splits = ("train", "train", "train", "tune", "test")
    made = [
        {"id": f"r{n}", "split": splits[n % 5], "text": f"say {n % 3}", "target": f"word {n % 3}"}
        for n in range(number)
    ]
    return [row | {name: value(n) for name, value in fields.items()} for n, row in enumerate(made)]


def configured(folder: Path, manifest: Path, **data: Any) -> Path:
    tree = tiny_tree(manifest)
    tree["data"] |= data
    (folder / "run.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return folder / "run.yaml"


def double(number: int, of: int = 40) -> list[dict[str, Any]]:
    """Rows of which so many have an id that stands before."""
    return texts(of, id=lambda n: f"r{n}" if n < of - number else "r0")


@pytest.fixture
def mostly_lost(tmp_path: Path) -> Path:
    return configured(tmp_path, write(tmp_path / "m.jsonl", double(35)), on_error="skip")


def test_training_is_refused_where_most_rows_are_lost(tmp_path: Path, shell: Shell, mostly_lost: Path) -> None:
    """Previously 35 of 40 rows were dropped for their ids, with exit code 0."""
    refused = shell("train", mostly_lost, "--out", tmp_path / "run")
    assert refused.code == 2
    assert "35 of 40 rows cannot be used (35 duplicate-id); the first: " in refused.err
    assert "set data.max_left_out (now 0.5) to 1 in the configuration to go on with the other 5" in refused.err
    assert not (tmp_path / "run").exists()
    trained = shell("train", mostly_lost, "data.max_left_out=0.9", "--out", tmp_path / "run")
    assert trained.code == 0, trained.err
    assert trained.out.splitlines()[0].startswith("data: most of the data is lost: 35 of 40 rows cannot be used")
    assert "most of the data is lost (35 of 40 rows): 35 rows were left out" in trained.out
    assert len((tmp_path / "run" / "left_out.jsonl").read_text(encoding="utf-8").splitlines()) == 35


def test_half_of_the_rows_is_not_most_of_them(tmp_path: Path, shell: Shell) -> None:
    config = configured(tmp_path, write(tmp_path / "m.jsonl", double(20)), on_error="skip")
    trained = shell("train", config, "--out", tmp_path / "run")
    assert trained.code == 0, trained.err
    assert "20 rows of m.jsonl cannot be used: left out; the first: " in trained.out
    assert "most of" not in trained.out


def test_check_and_init_say_it_first(tmp_path: Path, shell: Shell, mostly_lost: Path) -> None:
    for what in (mostly_lost, tmp_path / "m.jsonl"):
        checked = shell("data", "check", what)
        assert checked.code == 1
        findings = [line for line in checked.out.splitlines() if line.startswith(("error", "warning"))]
        assert findings[0].startswith("error: 35 of 40 rows cannot be used (35 duplicate-id): training refuses")
    made = shell("init", tmp_path / "m.jsonl", "--out", tmp_path / "new.yaml")
    assert made.code == 2
    assert "35 of 40 rows cannot be used" in made.err
    assert not (tmp_path / "new.yaml").exists()


def test_a_run_of_the_first_format_goes_on_with_what_it_has(tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path / "m.jsonl")
    written = make_config(as_written(tree, 1)).data
    assert (written.max_left_out, written.quoting, written.rules) == (1.0, "csv", 1)
    today = make_config(as_written(tree, 2)).data
    assert (today.max_left_out, today.quoting, today.rules) == (0.5, "auto", 2)


# -- `data check` of a configuration --


def test_check_takes_the_sizes_of_the_configuration(tmp_path: Path, shell: Shell) -> None:
    """Previously the largest batch was of 64 whatever the file said, and so were the limits of texts."""
    config = configured(tmp_path, write(tmp_path / "m.jsonl", texts()), text={"max_tokens": 1}, max_target_tokens=2)
    found = shell("data", "check", config, "--json").json
    assert {batch["batch_size"] for batch in found["worst_batch"]} == {read_config(config).train.batch_size} == {8}
    assert {finding["code"] for finding in found["findings"]} >= {"text-long", "target-long"}


def test_what_init_set_to_skip_is_no_error_in_check(tmp_path: Path, shell: Shell) -> None:
    for n in range(20):
        Image.linear_gradient("L").resize((16, 16)).rotate(29 * n).save(tmp_path / f"{n}.png")
    (tmp_path / "3.png").write_bytes(b"this is no picture")
    rows = [{"id": str(n), "image": f"{n}.png", "target": f"word {n % 2}"} for n in range(20)]
    rows += [{"id": "gone", "image": "gone.png", "target": "word 0"}]
    write(tmp_path / "m.jsonl", rows)
    assert shell("init", tmp_path / "m.jsonl", "--out", tmp_path / "run.yaml").code == 0
    checked = shell("data", "check", tmp_path / "run.yaml")
    assert checked.code == 0, checked.out
    assert "warning: files that are missing (left out: data.on_error) [media-missing, 1]" in checked.out
    assert "warning: pictures that cannot be decoded (left out: data.on_error) [image-corrupt, 1]" in checked.out
    plain = shell("data", "check", tmp_path / "m.jsonl")
    assert plain.code == 1
    assert "error: files that are missing [media-missing, 1]" in plain.out


# -- groups that stand in several splits --


def test_groups_in_several_splits_are_leakage_wherever_data_is_read(tmp_path: Path, shell: Shell) -> None:
    """Previously an error in check, trained on without a word, and said never to happen in the README."""
    rows = texts(group=lambda n: {"speaker": f"s{n % 4}", "picture": f"p{n}"})
    config = configured(tmp_path, write(tmp_path / "m.jsonl", rows))
    checked = shell("data", "check", config)
    assert checked.code == 1
    meant = "data.split.shared: [speaker]"
    assert f"error: the same group speaker in two splits (leakage; {meant} if it is meant)" in checked.out
    trained = shell("train", config, "--out", tmp_path / "run")
    assert trained.code == 0, trained.err
    assert "data: leakage: by speaker, 4 groups stand in several splits, because the rows say so" in trained.out
    assert meant in trained.out
    assert "picture" not in trained.out
    config = configured(tmp_path, tmp_path / "m.jsonl", split={"shared": ["speaker"]})
    assert shell("data", "check", config).code == 0
    assert "leakage" not in shell("train", config, "--out", tmp_path / "other").out
    made = shell("init", tmp_path / "m.jsonl", "--out", tmp_path / "new.yaml")
    assert "leakage: by speaker" in made.out


def test_drawn_splits_part_no_group(tmp_path: Path, shell: Shell) -> None:
    rows = [row | {"split": None, "group": {"speaker": f"s{n % 9}"}} for n, row in enumerate(texts())]
    config = configured(tmp_path, write(tmp_path / "m.jsonl", rows))
    assert shell("data", "check", config).code == 0
    assert "leakage" not in shell("train", config, "--out", tmp_path / "run").out


# -- folders and tables --


def test_every_file_of_a_folder_is_told(tmp_path: Path, shell: Shell) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(12):
        Image.linear_gradient("L").resize((16, 16)).rotate(29 * n).save(folder / f"{n:02}.jpg")
        (folder / f"{n:02}.txt").write_text(f"word {n % 2}", encoding="utf-8")
    (folder / "12.jxl").write_bytes(b"\xff\x0a")
    (folder / "12.txt").write_text("word 0", encoding="utf-8")
    (folder / "13.txt").write_text("word 1", encoding="utf-8")
    (folder / "notes.md").write_text("notes", encoding="utf-8")
    made = shell("init", folder, "--out", tmp_path / "run.yaml")
    assert made.code == 0, made.err
    assert "left out  1 (unread-media), the first at " in made.out
    assert "note      2 files belong to no row; the first: " in made.out
    config = configured(tmp_path, folder, on_error="skip")
    checked = shell("data", "check", config)
    assert checked.code == 0, checked.out
    assert "[unread-media, 1]" in checked.out
    assert "[other-file, 2]" in checked.out
    trained = shell("train", config, "--out", tmp_path / "run")
    assert trained.code == 0, trained.err
    assert "1 row of photos cannot be used: left out; " in trained.out
    assert "data: 2 files belong to no row; the first: " in trained.out
    assert "1 row was left out and 2 files belong to no row: " in trained.out
    listed = (tmp_path / "run" / "left_out.jsonl").read_text(encoding="utf-8").splitlines()
    assert {Path(json.loads(line)["where"]).name for line in listed} == {"12.txt", "13.txt", "notes.md"}


def test_pictures_of_phones_are_told_to_need_the_extra(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(12):
        (tmp_path / f"{n:02}.heic").write_bytes(b"x")
        (tmp_path / f"{n:02}.txt").write_text(f"word {n % 2}", encoding="utf-8")
    monkeypatch.setattr("plait.cli.first.importlib.util.find_spec", lambda name: None)
    made = shell("init", tmp_path, "--out", tmp_path / "run.yaml")
    assert made.code == 0, made.err
    assert "12 .heic: to be read they need pip install 'plait[phone]'" in made.out
    monkeypatch.setattr("plait.cli.first.importlib.util.find_spec", lambda name: name)
    assert "plait[phone]" not in shell("init", tmp_path, "--out", tmp_path / "run.yaml", "--force").out


def test_how_quotes_are_read_is_said_by_init_check_and_train(tmp_path: Path, shell: Shell) -> None:
    rows = "".join(f'{row["id"]}\t{row["split"]}\t"{row["target"]}\n' for row in texts())
    (tmp_path / "m.tsv").write_text("id\tsplit\ttarget\n" + rows, encoding="utf-8")
    said = "40 cells begin with a quote; quotes are kept as part of the text (data.quoting: csv reads them as in CSV)"
    made = shell("init", tmp_path / "m.tsv", "--out", tmp_path / "made.yaml")
    assert said in made.out
    assert "quoting: auto" in (tmp_path / "made.yaml").read_text(encoding="utf-8")
    config = configured(tmp_path, tmp_path / "m.tsv")
    assert f"note: {tmp_path}/m.tsv: {said}" in shell("data", "check", config).out
    trained = shell("train", config, "--out", tmp_path / "run")
    assert trained.code == 0, trained.err
    assert f"data: {tmp_path}/m.tsv: {said}" in trained.out
    refused = shell("train", config, "data.quoting=csv", "--out", tmp_path / "other")
    assert refused.code == 2
    assert "m.tsv:2: " in refused.err
