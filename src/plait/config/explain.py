"""What the user may say about explanations.

In: the `explain:` part of a run's YAML.
Out: a frozen `ExplainConfig`.
"""

from __future__ import annotations

from pydantic import Field

from plait.choices import Config


class ExplainConfig(Config):
    """An explanation and the baselines of a comparison: which inputs are credited together."""

    players: tuple[str | tuple[str, ...], ...] | None = Field(
        default=None,
        description="inputs that come and go together, as `[[before, after], voice]`; every other input is one by itself; none: "
        "each input up to five, of more one per modality",
    )
