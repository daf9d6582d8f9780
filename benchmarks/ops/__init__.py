"""One module per op, each with `run(timer) -> list[Row]`."""
