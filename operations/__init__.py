"""Tools for whoever is on call: replaying a run and telling its story."""
