"""`plait fusions`: every kind, its cost, and a refusal in its place."""

from __future__ import annotations

import json

from plait.cli.app import run
from plait.fusion import FUSIONS


def test_every_fusion_is_listed_with_its_cost(capsys):
    assert run(["fusions", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)["fusions"]
    assert list(found) == [member().kind for member in FUSIONS]
    assert all(row["parameters"] > 0 and row["flops"] > 0 for row in found.values())
    assert found["late"]["lm_rows"] == 4
    assert found["resampler"]["lm_positions"] == 16
    assert all(member.formula in err for member in FUSIONS)


def test_the_configuration_decides_and_what_it_cannot_have_is_refused_in_its_row(tmp_path, capsys):
    config = tmp_path / "run.yaml"
    config.write_text(
        "data: {manifest: m.jsonl, inputs: [image, audio]}\nwidth: 64\nlm: {layers: 1}\n", encoding="utf-8"
    )
    assert run(["fusions", str(config), "fusion.kind=tensor", "fusion.projected_width=31", "--json"]) == 0
    narrow = json.loads(capsys.readouterr().out)
    assert narrow["num_tokens"].keys() == {"image", "audio"}
    assert narrow["fusions"]["late"]["lm_rows"] == 3
    three = [
        "fusions",
        str(config),
        "data.inputs=[text,image,audio]",
        "fusion.kind=tensor",
        "fusion.projected_width=31",
    ]
    assert run([*three, "--json"]) == 0
    assert "1,048,576 products" in json.loads(capsys.readouterr().out)["fusions"]["tensor"]["refused"]


def test_an_unknown_key_is_the_users_mistake(capsys):
    assert run(["fusions", "fusion.kind=concatt"]) == 2
    said = capsys.readouterr().err
    assert "concatt" in said
    assert "'concat'" in said or "concat?" in said
