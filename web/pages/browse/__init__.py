"""Pages to browse what the hub has: labels, pictures, batches, rejected uploads, datasets, models."""

from web.pages.browse import batches, datasets, labels, models, pictures, rejected

ROUTERS = (
    labels.router, pictures.router, batches.router, rejected.router, datasets.router, models.router,
)  # fmt: skip
