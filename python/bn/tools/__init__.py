"""What works on whole models: folding, recalibration, the report."""
