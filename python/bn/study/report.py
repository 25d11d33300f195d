"""What a report says of each study, whatever its format; `html` and `markdown` write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bn.study.conclusion import Conclusion, by_verdict
from bn.study.plan import Study
from bn.study.results import Results
from bn.study.runner import wanted_seeds
from bn.study.store import Store

QUICK = (
    "Quick studies, on small grids: they have no verdicts, and numbers of one seed no intervals."
)
INTERVALS = (
    "Numbers are means over seeds, ± half of the 95 % interval (Student's t). A seed decides the "
    "split of the data, the initial weights and the order of the samples. Differences are taken "
    "seed by seed, between twins: networks that differ in nothing but what is tested. All networks "
    "of a study were tuned over the same settings, on samples for validation; what is shown was "
    "measured on other samples, unless it says so."
)
VERDICTS = (
    "A claim says that a number is above 0 (or a quotient above 1), in each of several cases. It "
    "holds if the whole interval is above 0 in all of them, and depends if it is in some. It does "
    "not hold if that is so in none, and the whole interval is below 0 in at least one. Otherwise "
    "the result is within noise."
)
SUMMARY = ("claim", "verdict", "figure, of the cases with the least and the largest")


@dataclass(frozen=True)
class Chapter:
    """A study with what it found."""

    study: Study
    results: Results
    conclusion: Conclusion
    quick: bool

    @property
    def verdict(self) -> str:
        """The verdict, which neither a quick study nor a single seed has."""
        return self.conclusion.verdict if self.judged else "no verdict"

    @property
    def judged(self) -> bool:
        """Whether there are intervals to judge by."""
        return len(self.results.seeds) > 1 and not self.quick

    @property
    def heading(self) -> str:
        """The verdict as a sentence, or why there is none."""
        if self.judged:
            return f"Verdict: {self.verdict}."
        return f"No verdict, from a {'quick study' if self.quick else 'single seed'}."

    @property
    def text(self) -> str:
        """The verdict's cases, if they differ, and its numbers."""
        cases = by_verdict(self.conclusion.cases) if self.judged else ""
        return f"{cases} {self.conclusion.sentence}".lstrip()

    @property
    def notes(self) -> list[str]:
        """Sentences on the numbers, on the settings, and on what they cost."""
        found, wanted = len(self.results.seeds), wanted_seeds(self.study, self.quick)
        seeds = f"{found} seed" + ("s" if found != 1 else "")
        if found < wanted:
            seeds += f" where {wanted} are planned (no more were asked for, or time was up)"
        number, minutes = len(self.results.records), self.results.seconds / 60
        cost = f"{number} measurements of {seeds}; {minutes:.1f} minutes of one core."
        return [*self.conclusion.notes, f"Settings: {settings_line(self.results)}.", cost]


def introduction(store: Store) -> str:
    """What a reader must know before the first number."""
    return f"{QUICK} {INTERVALS}" if store.quick else f"{INTERVALS} {VERDICTS}"


def settings_line(results: Results) -> str:
    """The values that each part of the settings takes.

    Examples
    --------
    >>> from bn.study.results import Record
    >>> settings = [{"norm": "batch", "lr": 0.1}, {"norm": "batch", "lr": 1.0}]
    >>> settings_line(Results([Record(setting, 0, 1.0, {}) for setting in settings]))
    'norm batch; lr 0.1 / 1'
    """
    names = dict.fromkeys(name for record in results.records for name in record.setting)
    values = {name: " / ".join(map(_plain, results.axis(name))) for name in names}
    return "; ".join(f"{name} {value}" for name, value in values.items())


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def chapters(studies: Sequence[Study], store: Store) -> list[Chapter]:
    """Those studies of which all settings were measured with at least one seed."""
    found = [(study, store.results(study)) for study in studies]
    return [
        Chapter(study, results, study.conclude(results), store.quick)
        for study, results in found
        if results.records
    ]


def verdicts(written: Sequence[Chapter]) -> dict[str, dict[str, str]]:
    """What `results.json` says of each study beside its measurements."""
    return {
        c.study.name: {
            "claim": c.study.claim,
            "verdict": c.verdict,
            "sentence": c.text,
        }
        for c in written
    }


def machine_lines(store: Store) -> list[str]:
    return [f"{name}: {value}" for name, value in store.machine.items()]
