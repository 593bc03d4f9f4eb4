import os
from pathlib import Path

import polars as pl

text = os.environ["DATA_RUNNER_PARAM_TEXT"]
words = pl.DataFrame({"word": text.split()}).group_by("word").len("count").sort("count", "word", descending=[True, False])
print(words)

Path("out").mkdir(exist_ok=True)
words.write_parquet("out/words.parquet")
print("wrote out/words.parquet")
