"""Rules that carry eligibility forward in time, beside a recording or as part of the model."""
