"""Configuration: one typed tree for the whole run, a YAML file, dotted overrides.

Parts that are built (encoders, fusions, language models, tokenizers) have their configuration beside their class; the sections
that drive a run (train, evaluate, generate) have theirs here.
"""

from plait.config.evaluate import EvaluateConfig
from plait.config.generate import GenerateConfig
from plait.config.reading import (
    apply_overrides,
    config_yaml,
    json_schema,
    json_schema_of,
    make_config,
    read_config,
    read_tree,
)
from plait.config.train import TrainConfig
from plait.config.tree import EncodersConfig, RunConfig

__all__ = [
    "EncodersConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "RunConfig",
    "TrainConfig",
    "apply_overrides",
    "config_yaml",
    "json_schema",
    "json_schema_of",
    "make_config",
    "read_config",
    "read_tree",
]
