"""What a dataset card says: counts, sources, licence, settings, known problems."""

from collections.abc import Sequence
from dataclasses import dataclass

from conf.settings import Settings
from lake.snapshot import DatasetSnapshot, Split
from organize.datasets import catalogue
from organize.datasets.catalogue import DatasetEntry

IMBALANCE = 3.0  # ratio of the largest label to the smallest from which a card names it


@dataclass(frozen=True)
class DatasetFacts:
    """The content of a dataset card.

    Args:
        dataset_id: its id.
        created: day when it was organized (ISO 8601); empty if unknown.
        license: of the pictures, as `organize.license` states it.
        counts: label to split to images.
        sources: users, devices and batches: how many the images are from.
        left_out: reason to images that were not chosen.
        settings: name to value, of filter, seed and table versions.
        models: ids of models that name it.
        manifest_sha256: hash of the manifest (hex).
        problems: sentences about what a user should know.
    """

    dataset_id: str
    created: str
    license: str
    counts: dict[str, dict[str, int]]
    sources: dict[str, int]
    left_out: dict[str, int]
    settings: dict[str, object]
    models: tuple[str, ...]
    manifest_sha256: str
    problems: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, entry: DatasetEntry, snapshot: DatasetSnapshot) -> "DatasetFacts":
        """Collect the facts of a dataset.

        Raises:
            DamagedSnapshot: a shard cannot be read.
        """
        counts = catalogue.counts_by_label(snapshot)
        versions = {f"version of {table}": version for table, version in sorted(entry.table_versions.items())}
        return cls(
            dataset_id=entry.dataset_id,
            created=entry.created.date().isoformat() if entry.created else "",
            license=settings.organize.license,
            counts=counts,
            sources=entry.sources,
            left_out=entry.left_out,
            settings={"seed": snapshot.seed, "mirror in training": snapshot.flip}
            | snapshot.filter
            | versions,
            models=entry.models,
            manifest_sha256=snapshot.sha256(),
            problems=tuple(known_problems(counts, entry.left_out, expected_splits(snapshot))),
        )

    def totals(self) -> dict[str, int]:
        """Split to number of images."""
        return {
            split.value: sum(by_split.get(split, 0) for by_split in self.counts.values()) for split in Split
        }


def expected_splits(snapshot: DatasetSnapshot) -> list[Split]:
    """The splits in which each label should have images; none if whole labels are split."""
    shares = snapshot.filter.get("fractions", [1] * len(Split))
    return [] if snapshot.split_by_label else [s for s, share in zip(Split, shares, strict=True) if share]


def known_problems(
    counts: dict[str, dict[str, int]], left_out: dict[str, int], expected: Sequence[Split]
) -> list[str]:
    """Sentences about imbalance, empty splits, undecided labels and images in two splits.

    Args:
        counts: label to split to images.
        left_out: reason to images that were not chosen.
        expected: splits in which each label should have images.
    """
    problems = []
    sizes = {label: sum(by_split.values()) for label, by_split in counts.items()}
    most, least = max(sizes, key=lambda label: sizes[label]), min(sizes, key=lambda label: sizes[label])
    if sizes[most] >= IMBALANCE * max(1, sizes[least]):
        problems.append(
            f"Labels are unbalanced: {most} has {sizes[most]:,} images, {least} has {sizes[least]:,}. "
            "`--weights balanced` or `--cap` evens them out."
        )
    if len(sizes) == 1:
        problems.append(f"There is one label, {most}: nothing can be told apart.")
    for split in expected:
        empty = [label for label, by_split in counts.items() if not by_split.get(split, 0)]
        if empty:
            shown = ", ".join(empty[:10]) + (" and more" if len(empty) > 10 else "")
            problems.append(f"There is no {split} image of {shown}.")
    for reason, sentence in _SENTENCES.items():
        if left_out.get(reason):
            problems.append(sentence.format(left_out[reason]))
    return problems


_SENTENCES = {
    "label_conflict": "{:,} images were uploaded with two labels and are left out until somebody decides.",
    "none_of_these": "{:,} images show none of the labels, as people decided, and are left out.",
    "group_in_another_split": "{:,} images are left out, because near duplicates of them were assigned to "
    "another split before.",
    "near_duplicate_in_another_split": "{:,} images are left out, because near duplicates of them have a "
    "label of another split.",
}
