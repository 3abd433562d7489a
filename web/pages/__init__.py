"""The pages: routers that fill templates. Each page is usable by keyboard, at 360 px, in light and dark."""
