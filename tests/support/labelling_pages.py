"""The labelling pages over a catalog, as `faceindex label` serves them."""

from fastapi import FastAPI

from faceindex.catalog.catalog import Catalog
from faceindex.service.access import Access
from faceindex.service.app import create_app
from faceindex.service.archive import Archive


def make_app(root: str) -> FastAPI:
    return create_app(Archive(Catalog.open(root)), Access("me"))
