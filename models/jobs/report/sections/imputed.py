"""Matrices that the model imputed: how well features were imputed in held-out cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.pages.blocks import Table
from kg.schema import IMPUTED_GENE, IMPUTED_PEAK
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from models.jobs.report.contents import RunContents


def sections(contents: RunContents) -> list[Section]:
    """Return one section on all layers; none for a model that imputes nothing."""
    rows = [
        {
            "layer": layer,
            "cells": cells,
            "of": type_.end,
            "features": len(layer_rows),
            "median correlation": float(layer_rows["correlation"].median()),
            "worst quarter below": float(layer_rows["correlation"].quantile(0.25)),
            "best quarter above": float(layer_rows["correlation"].quantile(0.75)),
        }
        for type_ in (IMPUTED_GENE, IMPUTED_PEAK)
        if type_.name in contents.predicted
        for (cells, layer), layer_rows in contents.predicted[type_.name].groupby(["start_id", "layer"])
    ]
    return [Section("Imputed layers", [Table(rows)])] if rows else []
