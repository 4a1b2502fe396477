"""Effects: the implementation of every port in `workflows/ports.py`."""
