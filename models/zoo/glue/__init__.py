"""GLUE: its networks, training and predictions."""

from models.zoo.glue.config import Config
from models.zoo.glue.model import fit, train
from models.zoo.glue.network import Glue, embed_cells
from models.zoo.glue.task import NOISE, GlueTask

__all__ = ["NOISE", "Config", "Glue", "GlueTask", "embed_cells", "fit", "train"]
