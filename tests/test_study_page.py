"""docs/study.md says what its results.json measured, and conclusions hold for any numbers."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bn.study import STUDIES
from bn.study.markdown import write_markdown
from bn.study.report import chapters, verdicts
from bn.study.results import Results
from bn.study.store import Store

for package in ("scipy", "sklearn", "matplotlib"):
    pytest.importorskip(package)

DOCS = Path(__file__).parent.parent / "docs"
BY_NAME = {study.name: study for study in STUDIES}

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the pages are not here")


@pytest.fixture(scope="module")
def store():
    return Store.read(DOCS / "study" / "results.json")


@pytest.fixture(scope="module")
def written(store):
    return chapters(STUDIES, store)


def test_every_study_was_measured_in_full_with_5_seeds_or_more(store):
    assert not store.quick and set(store.records) == set(BY_NAME)
    for study in STUDIES:
        assert len(store.results(study).seeds) >= 5, study.name


def test_the_page_is_what_the_results_say(store, written, tmp_path):
    write_markdown(tmp_path / "study.md", written, store)
    page = (DOCS / "study.md").read_text("utf-8")
    assert page == (tmp_path / "study.md").read_text("utf-8")
    pictures = set(re.findall(r"\]\(study/(.*?\.svg)\)", page))
    assert pictures == {path.name for path in (DOCS / "study").glob("*.svg")}
    assert pictures == {path.name for path in (tmp_path / "study").iterdir()}


def test_the_verdicts_in_the_results_follow_from_their_measurements(written):
    kept = json.loads((DOCS / "study" / "results.json").read_text("utf-8"))["studies"]
    for name, found in verdicts(written).items():
        assert {key: kept[name][key] for key in found} == found


@pytest.mark.parametrize("name", BY_NAME)
def test_one_seed_decides_nothing(store, name):
    results = store.results(BY_NAME[name])
    one = Results(record for record in results.records if record.seed == 0)
    assert BY_NAME[name].conclude(one).verdict == "within noise"


@pytest.mark.parametrize("name", BY_NAME)
def test_unknown_numbers_decide_nothing(store, name):
    """As if a network had given no number in any training."""
    results = store.results(BY_NAME[name])
    unknown = Results(replace(r, measured=without_numbers(r.measured)) for r in results.records)
    conclusion = BY_NAME[name].conclude(unknown)
    assert conclusion.verdict == "within noise" and "nan" not in conclusion.sentence


def without_numbers(measured):
    return {
        name: [None] * len(value) if isinstance(value, list) else None
        for name, value in measured.items()
    }
