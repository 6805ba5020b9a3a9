"""A private certificate authority for the tests of secure connections."""

from __future__ import annotations

import pytest

from tests.outputs.otlp.pki import Pki, make_pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))
