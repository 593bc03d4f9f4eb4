"""Checks customer records and says all that is wrong with them before anything downstream reads them."""

import os

import polars as pl
from expectations import Expectations

path = os.environ.get("DATA_RUNNER_PARAM_FILE", "customers.csv")
customers = pl.read_csv(path, schema_overrides={"signed_up": pl.String})
print(f"checking {customers.height} records of {path}")

check = Expectations(customers, path)
check.never(pl.col("customer_id").is_duplicated(), "the id is not unique", "customer_id")
check.never(~pl.col("email").str.contains(r"^[^@\s]+@[^@\s]+\.[a-z]+$").fill_null(False), "no valid address", "email")
check.never(pl.col("signed_up").str.to_date("%Y-%m-%d", strict=False).is_null(), "no such date", "signed_up")
check.never(pl.col("lifetime_value") < 0, "a negative value", "lifetime_value")
check.exit_if_broken()

print(f"all {customers.height} records are good")
