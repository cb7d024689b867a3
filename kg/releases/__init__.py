"""Publishing, comparing and reverting releases."""

from kg.releases.publication import (
    Served,
    copy_attributes,
    discard,
    publish,
    release_hash,
    releases,
    serve,
    served,
    verify,
)

__all__ = [
    "Served",
    "copy_attributes",
    "discard",
    "publish",
    "release_hash",
    "releases",
    "serve",
    "served",
    "verify",
]
