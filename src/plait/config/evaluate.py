from plait.evaluate.config import EvaluateConfig

__all__ = ["EvaluateConfig"]
