"""Two and four processes, for all tests of the folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pool import Pool


@pytest.fixture(scope="session", params=[2, 4], ids=lambda world: f"processes{world}")
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    made = Pool(request.param, tmp_path_factory.mktemp("processes"))
    yield made
    made.close()
