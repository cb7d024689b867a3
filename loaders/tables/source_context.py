"""What a source is handed: its files, the assembly, and the nodes that it looks up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kg.errors import InputError
from kg.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from loaders.genome.assemblies import Assembly
    from loaders.tables.files import InputFile
    from loaders.tables.lift_rows import Lift


@dataclass(frozen=True)
class SourceContext:
    """What a source is handed.

    Attributes:
        files: checked; empty for a derived source.
        stated_assembly: of the graph; None for a source without coordinates.
        biosample: that the command names for all rows; empty when it names none.
        graph: label -> nodes of the draft, for the types that the source looks up.
        notes: counts of oddities that were accepted, such as `crlf`.
        lift: from the assembly of the files to that of the graph, where they differ; `place` applies it.
        cache: a folder for results that take long, under names that encode their inputs; None keeps nothing.
        progress: gets the progress of long computations.
    """

    files: tuple[InputFile, ...]
    stated_assembly: Assembly | None = None
    biosample: str = ""
    graph: Mapping[str, pa.Table] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    lift: Lift | None = None
    cache: Path | None = None
    progress: Progress = SILENT

    @property
    def assembly(self) -> Assembly:
        """The assembly of the graph.

        Raises:
            InputError: neither the command nor the files state it.
        """
        if self.stated_assembly is None:
            raise InputError("the files do not state their assembly", "give --assembly, for example GRCh38 or mm10")
        return self.stated_assembly
