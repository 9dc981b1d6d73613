"""The whole service over a catalog, with a token of each scope, as `faceindex serve` has it on other addresses."""

import io
from functools import cache
from uuid import uuid4

from fastapi.testclient import TestClient
from PIL import Image as Pillow

from faceindex.catalog.catalog import Catalog
from faceindex.service.access import Access
from faceindex.service.app import create_app
from faceindex.service.archive import Archive
from faceindex.service.limits import Buckets, Limits, Rate
from faceindex.service.tokens import Scope, TokenStore

HOST = "faces.example:8642"
ENDLESS = Rate(1e6, 1e6)


class Service:
    """A service that asks everybody for a token."""

    def __init__(self, root: str, **rates: Rate) -> None:
        catalog = Catalog.open(root)
        self.archive = Archive(catalog, "cpu")
        self.store = TokenStore(catalog.files)
        self.names = {scope: f"{scope}-{uuid4().hex[:8]}" for scope in Scope}
        self.tokens = {scope: self.store.create(self.names[scope], scope) for scope in Scope}
        self.access = Access("nobody", tokens=self.store, open_to_local=False)
        limits = {name: Buckets(rates.get(name, ENDLESS)) for name in ("requests", "searches", "failures")}
        self.app = create_app(self.archive, self.access, ["faces.example"], Limits(**limits))

    def client(self, scope: Scope | None = None) -> TestClient:
        """Return what asks with a token of a scope, or with none."""
        headers = {} if scope is None else {"Authorization": f"Bearer {self.tokens[scope]}"}
        return TestClient(self.app, base_url=f"http://{HOST}", headers=headers)


@cache
def astronaut() -> bytes:
    """Return a photo of a person as JPEG."""
    from skimage import data

    return encoded(Pillow.fromarray(data.astronaut()))


def encoded(picture: Pillow.Image, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()
