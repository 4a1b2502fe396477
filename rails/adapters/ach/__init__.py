"""ACH credits as NACHA files through a bank."""
