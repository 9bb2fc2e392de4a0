"""The claims, one module a family; each has a tuple `CLAIMS`."""
