"""Pages to train a model and to try it, and to compare faces."""

from web.pages.learn import faces, train, try_model

ROUTERS = (train.router, try_model.router, faces.router)
