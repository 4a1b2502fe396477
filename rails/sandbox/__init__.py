"""The sandbox rails: a separate process that keeps its own truth of what it was asked and did."""
