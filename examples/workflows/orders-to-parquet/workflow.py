"""Reads orders.csv, cleans it, and writes one Parquet file with a summary per region."""

import json
import os
from pathlib import Path

import polars as pl

minimum = float(os.environ.get("DATA_RUNNER_PARAM_MIN_AMOUNT", "0"))

orders = (
    pl.scan_csv("orders.csv", schema_overrides={"amount": pl.Float64}, try_parse_dates=True)
    .with_columns(pl.col("region").str.strip_chars().str.to_lowercase())
    .unique(subset="order_id", keep="first", maintain_order=True)
    .filter(pl.col("amount").is_not_null() & (pl.col("amount") >= minimum))
    .collect()
)
print(f"{orders.height} orders are left after cleaning (amount >= {minimum:g})")

by_region = (
    orders.group_by("region")
    .agg(
        pl.len().alias("orders"),
        pl.col("amount").sum().round(2).alias("revenue"),
        pl.col("amount").max().alias("largest"),
    )
    .sort("revenue", descending=True)
)
with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
    print(by_region)

target = Path("out/orders.parquet")
target.parent.mkdir(exist_ok=True)
orders.write_parquet(target, compression="zstd")

# What was written is read again before anybody is told that it is there.
written = pl.scan_parquet(target).select(pl.len()).collect().item()
if written != orders.height:
    raise SystemExit(f"{target} holds {written} rows, expected {orders.height}")
print(f"wrote {target}: {written} rows, {target.stat().st_size:,} bytes")

# JSON in this file comes back as the execution's `output`.
if "DATA_RUNNER_OUTPUT" in os.environ:
    summary = {"rows": written, "revenue": round(orders["amount"].sum(), 2)}
    Path(os.environ["DATA_RUNNER_OUTPUT"]).write_text(json.dumps(summary))
