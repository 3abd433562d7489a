"""The dataset card as Markdown; for Hugging Face with the front matter that its libraries read."""

import json

from lake.snapshot import Split
from organize.datasets.cards.facts import DatasetFacts

_DATASET_SOURCES = ("users", "devices", "batches")


def markdown(facts: DatasetFacts, sheet: str) -> str:
    """The card's text.

    Args:
        sheet: path of the picture with samples; empty for none.
    """
    totals = facts.totals()
    parts = [
        f"# Dataset {facts.dataset_id}",
        f"{sum(totals.values()):,} labelled pictures of {len(facts.counts)} labels, organized by the Deep "
        f"Images Hub{f' on {facts.created}' if facts.created else ''}. License: {facts.license}.",
        *([f"![Sample pictures of each label]({sheet})"] if sheet else []),
        "## Counts",
        _table(
            ["label", *Split, "all"],
            [
                *([label, *_numbers(by_split)] for label, by_split in facts.counts.items()),
                ["**all**", *_numbers(totals)],
            ],
        ),
        "Near duplicates are in one split. A picture keeps its split in all datasets of the lake.",
        "## Sources",
        _sources(facts),
        "## Left out",
        _table(["reason", "images"], [[reason, f"{n:,}"] for reason, n in facts.left_out.items()])
        if facts.left_out
        else "Nothing, or unknown: an older hub made the dataset.",
        "## Known problems",
        "\n".join(f"- {problem}" for problem in facts.problems) or "None found.",
        "## How it was made",
        _table(
            ["setting", "value"], [[name, f"`{_shown(value)}`"] for name, value in facts.settings.items()]
        ),
        f"The sha256 of its manifest is `{facts.manifest_sha256}`.",
        f"Models trained on it: {', '.join(facts.models) or 'none yet'}.",
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(facts: DatasetFacts) -> str:
    """YAML for Hugging Face: licence, task, and the files of each split. JSON strings are YAML strings."""
    splits = [split for split, images in facts.totals().items() if images]
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in splits)
    return (
        f"---\nlicense: {json.dumps(facts.license.lower())}\ntask_categories:\n- image-classification\n"
        f"configs:\n- config_name: default\n  data_files:\n{files}---\n\n"
    )


def _sources(facts: DatasetFacts) -> str:
    known = [f"{facts.sources[name]:,} {name}" for name in _DATASET_SOURCES if facts.sources.get(name)]
    return f"Uploads of {', '.join(known)}." if known else "Unknown: no upload names a user, device or batch."


def _numbers(by_split: dict[str, int]) -> list[str]:
    numbers = [by_split.get(split, 0) for split in Split]
    return [f"{number:,}" for number in (*numbers, sum(numbers))]


def _shown(value: object) -> str:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).replace("|", "\\|")


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
