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
    "Quick studies, of one seed on small grids: their numbers have no intervals and no verdicts."
)
INTERVALS = (
    "Numbers are means over seeds, ± half of the 95 % interval (Student's t). A seed decides the "
    "split of the data, the initial weights and the order of the samples; differences are taken "
    "seed by seed. All networks of a study were tuned over the same settings, on samples for "
    "validation; what is shown was measured on other samples, unless it says so."
)


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
    def text(self) -> str:
        """The verdict's cases, if they differ, and its numbers."""
        cases = by_verdict(self.conclusion.cases) if self.judged else ""
        sentence = self.conclusion.sentence
        return f"{cases[0].upper()}{cases[1:]}. {sentence}" if cases else sentence

    @property
    def notes(self) -> list[str]:
        """Sentences on the numbers, on the settings, and on what they cost."""
        found, wanted = len(self.results.seeds), wanted_seeds(self.study, self.quick)
        seeds = f"{found} seed" + ("s" if found != 1 else "")
        if found < wanted:
            seeds += f", because {wanted} did not fit into the budget"
        number, minutes = len(self.results.records), self.results.seconds / 60
        cost = f"{number} measurements of {seeds}; {minutes:.1f} minutes of one core."
        return [*self.conclusion.notes, f"Settings: {settings_line(self.results)}.", cost]


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
