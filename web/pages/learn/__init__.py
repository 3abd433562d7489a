"""Pages to train a model and to try it."""

from web.pages.learn import train

ROUTERS = (train.router,)
