"""Where the tables of the shop are, and how a step tells the next one."""

import json
import os
import pathlib

DAY = os.environ.get("DATA_RUNNER_PARAM_DAY", "2026-08-03")


def place(table: str) -> str:
    """Where a table of this day is: below SHOP_LAKE, which may be a folder or s3://bucket/prefix."""
    lake = os.environ["SHOP_LAKE"]
    if "://" not in lake:
        pathlib.Path(lake).mkdir(parents=True, exist_ok=True)
    return f"{lake}/{table}-{DAY}.parquet"


def tell(**facts: object) -> None:
    """Makes these the output of the execution."""
    with open(os.environ["DATA_RUNNER_OUTPUT"], "w") as output:
        json.dump(facts, output)
