"""What every request measured and cost: taken in by the meter, kept in the ledger."""

from gateway.usage.meter import Meter, measures
from gateway.usage.tally import BOUNDS, MOST_MODELS, MOST_SUMS, OTHER, Sort, Sums, Tally

__all__ = ["BOUNDS", "MOST_MODELS", "MOST_SUMS", "OTHER", "Meter", "Sort", "Sums", "Tally", "measures"]
