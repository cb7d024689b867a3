"""Matrices that the model filled in: how well features were imputed in cells held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kg.pages.blocks import Table
from kg.schema import IMPUTED_GENE, IMPUTED_PEAK
from models.jobs.report.section import Section

if TYPE_CHECKING:
    from models.jobs.report.contents import RunContents


def sections(contents: RunContents) -> list[Section]:
    """One of all layers; none of a model that imputes nothing."""
    rows = [
        {
            "layer": layer,
            "cells": cells,
            "of": type_.end,
            "features": len(some),
            "median correlation": float(some["correlation"].median()),
            "worst quarter below": float(some["correlation"].quantile(0.25)),
            "best quarter above": float(some["correlation"].quantile(0.75)),
        }
        for type_ in (IMPUTED_GENE, IMPUTED_PEAK)
        if type_.name in contents.predicted
        for (cells, layer), some in contents.predicted[type_.name].groupby(["start_id", "layer"])
    ]
    return [Section("Imputed layers", [Table(rows)])] if rows else []
