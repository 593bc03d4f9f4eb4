"""Reads what raw_orders wrote."""

import os

import polars as pl
from shop.lake import DAY, tell

orders = pl.read_parquet(os.environ["DATA_RUNNER_PARAM_ORDERS"])
units = orders.group_by("region").agg(pl.col("quantity").sum()).sort("region")
print(f"units sold on {DAY}:")
print(units)
tell(units=int(orders["quantity"].sum()))
