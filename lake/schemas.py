"""Spark schemas of all tables."""

from pyspark.sql import types as t

from lake.table import Table

HEADERS = t.ArrayType(
    t.StructType([t.StructField("key", t.StringType()), t.StructField("value", t.BinaryType())])
)

METRICS = t.StructType(
    [
        t.StructField("brightness", t.FloatType()),  # mean luma, 0-255
        t.StructField("sharpness", t.FloatType()),  # variance of the Laplacian
        t.StructField("entropy", t.FloatType()),  # of the luma histogram, bits
        t.StructField("chroma", t.FloatType()),  # mean of largest minus smallest of R, G, B
        t.StructField("aspect", t.FloatType()),  # longest over shortest side
    ]
)


def _columns(*columns: tuple[str, t.DataType]) -> t.StructType:
    return t.StructType([t.StructField(name, kind) for name, kind in columns])


_STRING, _INT, _LONG, _TIME = t.StringType(), t.IntegerType(), t.LongType(), t.TimestampType()
_STRINGS, _BYTES = t.ArrayType(t.StringType()), t.BinaryType()

UPLOADS = _columns(
    ("topic", _STRING),
    ("partition", _INT),
    ("offset", _LONG),
    ("upload_id", _STRING),  # ce_id
    ("device", _STRING),
    ("user", _STRING),
    ("batch", _STRING),
    ("label", _STRING),  # slug of the claimed label (lake.label_slug)
    ("label_name", _STRING),  # the claimed label as it was written; null in rows of older hubs
    ("geohash", _STRING),
    ("verdict", _STRING),  # accepted, rejected
    ("reason", _STRING),
    ("detail", _STRING),
    ("image_id", _STRING),  # sha256 of the original
    ("bytes", _LONG),  # of the original
    ("format", _STRING),
    ("width", _INT),  # of the original, upright
    ("height", _INT),
    ("phash", _LONG),
    ("flags", _STRINGS),
    ("metrics", METRICS),
    ("taken_at", _TIME),  # from EXIF; phones state no zone, so it is kept as if UTC
    ("event_time", _TIME),  # ce_time
    ("kafka_time", _TIME),
    ("ingest_time", _TIME),
    ("ingest_batch", _LONG),
    ("jpeg", _BYTES),
    ("thumbnail", _BYTES),
    ("payload", _BYTES),  # original value of a rejected upload, for its dead letter
    ("headers", HEADERS),  # likewise; of more than ingest.max_headers, the contract's own and then the first
)

LABEL_CONFLICT = "label_conflict"  # flag of an image that was uploaded with two labels
NONE_OF_THESE = "none_of_these"  # flag of an image that shows no label, as somebody decided
EXCLUDING_FLAGS = (LABEL_CONFLICT, NONE_OF_THESE)
# Condition for samples that datasets may contain.
USABLE = " AND ".join(f"NOT array_contains(flags, '{flag}')" for flag in EXCLUDING_FLAGS)

SAMPLES = _columns(
    ("image_id", _STRING),
    ("label", _STRING),
    ("label_source", _STRING),  # claimed, checked, corrected
    ("label_quality", t.FloatType()),  # 0 to 1, how well picture and label agree; 1 once somebody decided
    ("suggested_label", _STRING),
    ("label_reason", _STRING),  # why label_quality is low, or why a label is suggested
    ("duplicate_group", _STRING),
    ("cluster", _STRING),  # of the pictures with its label
    ("overall_cluster", _STRING),  # of the pictures with any label
    ("cluster_distance", t.FloatType()),  # cosine distance to the centroid of `cluster`, 0 to 2
    ("outlier", t.BooleanType()),  # farther from its centroid than the cluster's radius
    ("overall_distance", t.FloatType()),  # likewise for `overall_cluster`
    ("overall_outlier", t.BooleanType()),
    ("split", _STRING),
    ("flags", _STRINGS),
    ("phash", _LONG),
    ("upload_id", _STRING),  # of the first upload, as are the next four
    ("device", _STRING),
    ("user", _STRING),
    ("batch", _STRING),
    ("event_time", _TIME),
)

LABELS = _columns(
    ("label", _STRING),
    ("parent", _STRING),
    ("display_name", _STRING),  # of labels.csv, or as the first upload wrote it
    ("accepted", _LONG),  # uploads; the same image counts each time
    ("ready", t.BooleanType()),
)

DATASETS = _columns(
    ("dataset_id", _STRING),
    ("filter", _STRING),  # JSON
    ("seed", _LONG),
    ("table_versions", t.MapType(_STRING, _LONG)),
    ("labels", _STRINGS),  # position is the label index
    ("counts", t.MapType(_STRING, _LONG)),  # split to images
    ("path", _STRING),
    ("manifest_sha256", _STRING),
    ("created", _TIME),
    ("left_out", t.MapType(_STRING, _LONG)),  # reason to images; tables of older versions lack the next ones
    ("sources", t.MapType(_STRING, _LONG)),  # users, devices, batches: how many the images are from
)

MODELS = _columns(
    ("model_id", _STRING),
    ("dataset_id", _STRING),
    ("architecture", _STRING),
    ("settings", _STRING),  # JSON
    ("workers", _INT),
    ("metrics", t.MapType(_STRING, t.DoubleType())),
    ("path", _STRING),
    ("state", _STRING),  # training, ready, failed, retired
    ("detail", _STRING),  # why it failed
    ("created", _TIME),
    ("finished", _TIME),
    ("code_version", _STRING),  # of the hub; tables of older versions may lack this column and the next ones
    ("seed", _LONG),
    ("seconds", t.DoubleType()),  # from the command to the results
    ("cpu_seconds", t.DoubleType()),  # of the workers' and the driver's Python processes, user and system
)

CLUSTERS = _columns(
    ("cluster", _STRING),
    ("label", _STRING),  # whose pictures it groups; null for a cluster of pictures with any label
    ("model_id", _STRING),  # whose embeddings were clustered
    ("centroid", _BYTES),  # float16, little-endian, of length 1
    ("size", _LONG),  # images
    ("radius", t.FloatType()),  # cosine distance from which an image is an outlier
    ("common_label", _STRING),  # the most frequent label of its images
    ("common_share", t.FloatType()),  # of its images have that label, 0 to 1
    ("created", _TIME),
)

DECISIONS = _columns(
    ("decision_id", _STRING),  # of the rows that were decided together
    ("kind", _STRING),  # relabel, keep, none_of_these, undo
    ("image_id", _STRING),
    ("label_before", _STRING),
    ("label_after", _STRING),
    ("source_before", _STRING),  # label_source
    ("source_after", _STRING),
    ("excluded_before", t.BooleanType()),  # flagged as none of these
    ("excluded_after", t.BooleanType()),
    ("user", _STRING),  # who decided; null once erased
    ("decided", _TIME),
)

WATCHES = _columns(
    ("label", _STRING),
    ("user", _STRING),  # who waits for the label
    ("since", _TIME),
)

EMBEDDINGS = _columns(
    ("image_id", _STRING),
    ("model_id", _STRING),  # vectors of two models are never compared
    ("vector", _BYTES),  # float16, little-endian, of length 1; null: the stored picture cannot be decoded
    ("created", _TIME),  # of all rows of a commit the same, and later than those of the commit before
)

ERASED_SPLITS = _columns(
    ("key", _STRING),  # hash of the image id of an erased image
    ("split", _STRING),  # that it had, and gets again if somebody uploads it again
)

DUPLICATE_PAIRS = _columns(
    ("first", _STRING),  # image ids, first < second
    ("second", _STRING),
    ("relation", _STRING),  # organize.duplicates.comparison.relation.Relation
    ("correlation", t.DoubleType()),  # of the aligned pixels, 0-1
    ("significance", t.DoubleType()),  # in standard deviations of unrelated pictures
    ("verified_by", _STRING),  # how they were compared
)

GROUPS = _columns(
    ("image_id", _STRING),  # once; an image without a row forms a group of its own
    ("group_id", _STRING),  # a hash, minted once
    ("relation", _STRING),  # to the matched image; null for an image that has left its group
    ("matched_image", _STRING),  # the centre of the group, or the most similar image
    ("verified_by", _STRING),
    ("score", t.DoubleType()),  # correlation with the matched image, 0-1
)

GROUP_MERGES = _columns(
    ("group_id", _STRING),  # of a group that ended, once
    ("merged_into", _STRING),  # the group that its images joined
)

SCHEMAS = {
    Table.UPLOADS: UPLOADS,
    Table.SAMPLES: SAMPLES,
    Table.LABELS: LABELS,
    Table.DATASETS: DATASETS,
    Table.MODELS: MODELS,
    Table.DUPLICATE_PAIRS: DUPLICATE_PAIRS,
    Table.GROUPS: GROUPS,
    Table.GROUP_MERGES: GROUP_MERGES,
    Table.CLUSTERS: CLUSTERS,
    Table.DECISIONS: DECISIONS,
    Table.WATCHES: WATCHES,
    Table.EMBEDDINGS: EMBEDDINGS,
    Table.ERASED_SPLITS: ERASED_SPLITS,
}


def lacks(existing: t.DataType, wanted: t.DataType) -> bool:
    """Whether a type lacks a column or a field of a struct at any depth."""
    if isinstance(wanted, t.StructType) and isinstance(existing, t.StructType):
        fields = {field.name.lower(): field.dataType for field in existing}
        return any(
            field.name.lower() not in fields or lacks(fields[field.name.lower()], field.dataType)
            for field in wanted
        )
    if isinstance(wanted, t.ArrayType) and isinstance(existing, t.ArrayType):
        return lacks(existing.elementType, wanted.elementType)
    if isinstance(wanted, t.MapType) and isinstance(existing, t.MapType):
        return lacks(existing.valueType, wanted.valueType)
    return False
