"""From a model and a split to a record: metrics, clustered intervals, the best constant answer beside them, one row per sample."""

from plait.config.evaluate import EvaluateConfig
from plait.evaluate.metrics import LOSS_NAMES, METRIC_NAMES, SegmentLoss
from plait.evaluate.record import Record, Retrieval, Row, SegmentRow, Summary, read_record, record_path, write_record
from plait.evaluate.render import render
from plait.evaluate.run import Answerer, evaluate
from plait.evaluate.score import Output, evaluate_outputs
from plait.evaluate.statistics import Bootstrap, Constant, Figure

__all__ = [
    "LOSS_NAMES",
    "METRIC_NAMES",
    "Answerer",
    "Bootstrap",
    "Constant",
    "EvaluateConfig",
    "Figure",
    "Output",
    "Record",
    "Retrieval",
    "Row",
    "SegmentLoss",
    "SegmentRow",
    "Summary",
    "evaluate",
    "evaluate_outputs",
    "read_record",
    "record_path",
    "render",
    "write_record",
]
