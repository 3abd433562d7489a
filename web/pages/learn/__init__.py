"""Pages to train a model and to try it."""

from web.pages.learn import train, try_model

ROUTERS = (train.router, try_model.router)
