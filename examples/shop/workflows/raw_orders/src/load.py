"""Makes the orders of a day, and puts them into the lake."""

import os
import pathlib

import humanize
import polars as pl
from shop.lake import DAY, place, tell

rows, region = int(os.environ["DATA_RUNNER_PARAM_ROWS"]), os.environ["DATA_RUNNER_PARAM_REGION"]
if os.environ["DATA_RUNNER_PARAM_STRICT"] == "true" and not os.environ["SHOP_KEY"]:
    raise SystemExit("the shop wants a key")
if rows < 1:
    raise SystemExit(f"there is no day with {rows} orders")

orders = pl.select(number=pl.int_range(rows)).with_columns(
    region=pl.when(pl.col("number") % 2 == 0).then(pl.lit("eu")).otherwise(pl.lit("us")),
    product=pl.col("number") % 5,
    quantity=1 + pl.col("number") % 3,
)
if region != "all":
    orders = orders.filter(pl.col("region") == region)
print(f"{humanize.intcomma(orders.height)} orders of {DAY}")

path = place("orders")
orders.write_parquet(path)
pathlib.Path("out").mkdir(exist_ok=True)
orders.group_by("region").len().sort("region").write_csv("out/orders.csv")
tell(path=path, rows=orders.height)
