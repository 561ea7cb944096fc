"""How models fare under corruptions: evaluation, the released data sets, metrics and distances."""
