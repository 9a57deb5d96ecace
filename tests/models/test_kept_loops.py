"""What numba keeps on disk is never that of other sources."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import sparseshift
from sparseshift import compiled
from sparseshift.models import log_count_product

PACKAGE = Path(sparseshift.__file__).parent


def test_every_file_with_loops_is_in_the_digest() -> None:
    folders = {(PACKAGE / folder).resolve() for folder in compiled.LOOPS}
    with_loops = [
        path
        for path in PACKAGE.rglob("*.py")
        if "@compiled\n" in path.read_text() or "@inlined\n" in path.read_text()
    ]
    assert len(with_loops) > 5
    assert {path.parent for path in with_loops} <= folders


@pytest.fixture(name="fresh")
def fresh_digest() -> Iterator[None]:
    """Taken anew, and again afterwards."""
    compiled.sources_digest.cache_clear()
    yield
    compiled.sources_digest.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_the_digest_follows_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    files = tmp_path / "compiled.py", tmp_path / "models" / "loop.py"
    for file in files:
        file.write_text("one")
    monkeypatch.setattr(compiled, "__file__", str(files[0]))
    seen = {compiled.sources_digest()}
    for file in files:
        file.write_text("two")
        compiled.sources_digest.cache_clear()
        seen.add(compiled.sources_digest())
    assert len(seen) == 3


@pytest.mark.skipif(not compiled.available(), reason="numba is missing")
def test_loops_are_kept_under_the_digest() -> None:
    counts, weight = torch.zeros(2, 300), torch.ones(300, 2)
    log_count_product.log_count_product(counts, weight)
    kept = Path(log_count_product.collect.stats.cache_path)  # type: ignore[attr-defined]
    assert list(kept.glob(f"log_count_product.collect_{compiled.sources_digest()}-*"))
