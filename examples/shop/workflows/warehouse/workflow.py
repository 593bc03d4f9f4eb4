"""Says what it was given, but not the secrets."""

import os

import polars as pl

given = [name for name in ("WAREHOUSE", "LICENCE") if os.environ.get(name)]
print(f"polars {pl.__version__} in {os.environ.get('AWS_REGION')}, secrets: {', '.join(given)}")
