"""A few checks of a table that name the rows which break them. Shared by workflows through `include: [lib/]`."""

import sys

import polars as pl


class Expectations:
    """Collects everything that is wrong, so that one run tells it all."""

    def __init__(self, table: pl.DataFrame, name: str) -> None:
        # Line 1 of the file is its header.
        self.table = table.with_row_index("line", offset=2)
        self.name = name
        self.broken: list[tuple[int, str]] = []

    def never(self, condition: pl.Expr, what: str, column: str) -> None:
        """No row may meet `condition`."""
        for row in self.table.filter(condition).iter_rows(named=True):
            self.broken.append((row["line"], f"{what} (column {column}: {row[column]!r})"))

    def exit_if_broken(self) -> None:
        """Ends the process with 1 and all findings on stderr, if there are any."""
        if not self.broken:
            return
        for line, finding in sorted(self.broken):
            print(f"{self.name}:{line}: {finding}", file=sys.stderr)
        raise SystemExit(f"error: {len(self.broken)} problems in {self.table.height} records of {self.name}")
