"""GLUE: its networks, training and predictions."""

from models.zoo.glue.model import NOISE, Config, Glue, GlueTask, embed_cells, fit, led

__all__ = [
    "NOISE",
    "Config",
    "Glue",
    "GlueTask",
    "embed_cells",
    "fit",
    "led",
]
