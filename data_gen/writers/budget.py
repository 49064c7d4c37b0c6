"""What may be spent: `max_cost_usd` over all runs with one store."""

from __future__ import annotations

from data_gen.writers.store import Store
from icd10cm.errors import ICDTuneError


class BudgetError(ICDTuneError, RuntimeError):
    """The next request could cost more than may still be spent."""


def describe_budget(store: Store, most: float, max_cost_usd: float) -> str:
    """Return what stopped a run and how to go on."""
    lost = f", of it {store.n_lost:,} lost requests at the most they can have cost" if store.n_lost else ""
    return (
        f"stopped at max_cost_usd {max_cost_usd:g}: ${store.spent:.4f} spent on {len(store):,} answers{lost}, and the next "
        f"request can cost ${most:.4f}; everything paid for is kept: raise max_cost_usd and run the same command again to go on"
    )
