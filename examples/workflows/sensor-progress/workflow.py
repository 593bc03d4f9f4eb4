"""Makes readings of fifty sensors month by month, finds the outliers, and says how far it is.

The readings come from a fixed rule, so each run gives the same numbers and no network is needed.
"""

import math
import os
import time

import polars as pl


def param(name: str, default: str) -> str:
    return os.environ.get(f"DATA_RUNNER_PARAM_{name}", default)


months = int(param("MONTHS", "12"))
count = int(param("READINGS_PER_MONTH", "200000"))
pause = float(param("PAUSE_SECONDS", "0.5"))


def readings(month: int) -> pl.LazyFrame:
    index = pl.int_range(count, eager=False)
    noise = (pl.col("i") * 2_654_435_761 + month * 40_503) % 10_007 / 10_007
    return (
        pl.select(i=index)
        .lazy()
        .with_columns(
            sensor=pl.col("i") % 50,
            celsius=11 - 9 * math.cos(2 * math.pi * (month - 1) / 12) + 4 * noise,
        )
        .with_columns(celsius=pl.when(pl.col("i") * (month + 2) % 9_973 < month).then(85.0).otherwise(pl.col("celsius")))
    )


months_done = []
for month in range(1, months + 1):
    summary = (
        readings(month)
        .with_columns(median=pl.col("celsius").median().over("sensor"))
        .select(
            pl.lit(month).alias("month"),
            pl.len().alias("readings"),
            pl.col("celsius").mean().round(2).alias("mean_celsius"),
            ((pl.col("celsius") - pl.col("median")).abs() > 30).sum().alias("outliers"),
        )
        .collect()
    )
    months_done.append(summary)
    row = summary.row(0, named=True)
    print(
        f"month {month:>2}/{months}  {100 * month // months:>3} %  "
        f"mean {row['mean_celsius']:.2f} °C, {row['outliers']} outliers",
        flush=True,
    )
    time.sleep(pause)

if months_done:
    year = pl.concat(months_done)
    print(f"{year['readings'].sum():,} readings, {year['outliers'].sum()} outliers")
