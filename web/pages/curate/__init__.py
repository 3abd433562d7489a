"""Pages on which people decide about labels."""

from web.pages.curate import review

ROUTERS = (review.router,)
