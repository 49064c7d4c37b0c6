"""The coding API over HTTP: routes, keys, limits, errors, metrics, and the page."""
