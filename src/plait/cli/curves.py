"""`plait explain --curves`: a run and a split → how its scores fall when its inputs are damaged.

In: the options of `plait explain`.
Out: tables on the screen, or with `--json` one object; files in the run's folder.
"""

from __future__ import annotations

from pathlib import Path

from plait.cli.common import Output, kept, say_aside


def show_curves(
    run: Path,
    split: str | None,
    limit: int | None,
    *,
    curves: bool,
    manifest: Path | None,
    others: list[str],
    batch_size: int | None,
    seed: int | None,
    device: str | None,
    trust_code: bool,
    accept_changes: bool,
    output: Output,
) -> None:
    """Measure and show them. `curves`: whether they were asked for; `others`: options that go with credits only."""
    from plait.api import load
    from plait.cli.progress import counter
    from plait.errors import UserError
    from plait.explain import INSTALL, can_plot
    from plait.explain.curves import LIMIT, render

    if not curves:
        raise UserError("only curves take a limit", where="--limit", right="Add --curves, or leave it out.")
    for option in others:
        raise UserError("says nothing of curves", where=option, right="Call once with --curves and once without.")
    model = load(run, device=device or "auto", trust_code=trust_code, accept_changes=accept_changes, say=say_aside)
    with counter("curves", to_stderr=True) as count:
        found = model.curves(
            split,
            limit=LIMIT if limit is None else limit,
            manifest=manifest,
            batch_size=batch_size,
            seed=seed,
            progress=count,
            write=False,
        )
    with kept(lambda: model.keep(found)):
        output.say(render(found))
    if not can_plot():
        output.say(INSTALL)
    output.result({"run": str(run), **found.to_json()})
