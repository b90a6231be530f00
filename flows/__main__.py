"""python -m flows: print the pipeline as docs/reference/pipeline.md has it."""

from __future__ import annotations

import sys

from flows.pipeline import PIPELINE, TABLE_IDS, nothing


def as_markdown() -> str:
    lines = ["| table_id | name | may match | purpose |", "| --- | --- | --- | --- |"]
    for table in PIPELINE:
        table_id = TABLE_IDS[table.name]
        writer = table.of_tree if table.always is nothing else table.always
        doc = sys.modules[writer.__module__].__doc__ or ""
        purpose = doc.partition("\n")[0]
        matches = ", ".join(sorted(table.matches))
        lines.append(f"| {table_id} | `{table.name}` | {matches} | {purpose} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_markdown())
