"""Parameters that several lists share."""

from typing import Annotated

from fastapi import Query

from web.data.keyset import MAX_LIMIT

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows of a page.")]
After = Annotated[
    str | None, Query(max_length=2000, description="`next` of the page before; without it the first page.")
]
