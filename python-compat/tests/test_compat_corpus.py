"""Real files of a pipeline that calls these names. They are validated, and never unpickled."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

import ckpt
from ckpt.compat import get_checkpoint_info, load_with_compatibility, validate_checkpoint, validate_checkpoint_batch
from compat_files import flipped, names

CORPUS = Path(__file__).parents[2].resolve() / "../shared/corpus"
PIPELINE = "broadinstitute/virnucpro-broad"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus isn't at {CORPUS}")


def rows() -> list[dict[str, str]]:
    with (CORPUS / "MANIFEST.tsv").open() as manifest:
        return list(csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE))


def pipeline() -> list[Path]:
    paths = [CORPUS / row["file"] for row in rows() if row["repo"] == PIPELINE]
    assert len(paths) >= 10
    return paths


def test_the_files_of_the_pipeline_are_valid() -> None:
    assert validate_checkpoint_batch(pipeline()) == (pipeline(), [])
    assert validate_checkpoint_batch(pipeline(), skip_load=True) == (pipeline(), [])


def test_its_keys_are_the_ones_that_it_asks_for() -> None:
    keys = {"DNABERT_S": "nucleotide", "ESM": "proteins", "merged": "ids"}
    for path in pipeline():
        kind = path.stem.removeprefix("output_1_")
        for asked, key in keys.items():
            valid, message = validate_checkpoint(path, [key, "data"])
            assert valid is (asked == kind), path
            assert valid or message.startswith(f"incompatible: missing required keys ['{key}']"), message


def test_its_files_of_before_the_version_are_0_x() -> None:
    for path in pipeline():
        info = get_checkpoint_info(path)
        assert (info["version"], info["status"], info["read_only"]) == ("0.x", "unknown", True)
        assert info["is_valid_zip"] and info["size_bytes"] == path.stat().st_size and not info["has_done_marker"]
        assert info["error"] == ""


def test_its_files_load_with_the_safe_reader_and_stay_as_they_were(tmp_path: Path) -> None:
    for at, path in enumerate(pipeline()):
        copied = Path(shutil.copy(path, tmp_path / f"{at}.pt"))
        loaded = load_with_compatibility(copied)
        assert "data" in loaded and "version" not in loaded
        assert copied.read_bytes() == path.read_bytes()
    assert names(tmp_path) == sorted(f"{at}.pt" for at in range(len(pipeline())))


def test_damage_to_its_files_is_found(tmp_path: Path) -> None:
    for path in pipeline()[:3]:
        for at in range(0, path.stat().st_size, 1999):
            message = validate_checkpoint(flipped(path, at, tmp_path / "damaged.pt"))[1]
            assert message.startswith("corrupted: "), (path, at, message)


def test_the_rest_of_the_corpus_agrees_with_verify_and_is_not_executed() -> None:
    """Every file that `ckpt.verify` finds valid or damaged is so here, but for those that are no archive."""
    disagreements = []
    for row in rows():
        path = CORPUS / row["file"]
        if path.is_dir() or not path.exists():
            continue
        report = ckpt.verify(path)
        valid, message = validate_checkpoint(path, required_keys=[])
        get_checkpoint_info(path)
        codes = {finding.code for finding in report.findings if finding.verdict == report.verdict != "valid"}
        if "ZIP archive" in message or "not a dict" in message or "torch.load failed" in message:
            agrees = True
        elif codes == {"needs-trust"}:
            agrees = valid
        else:
            agrees = valid == report.is_valid and (valid or message.startswith(report.verdict))
        if not agrees:
            disagreements.append((row["file"], report.verdict, sorted(codes), message))
    assert disagreements == []
