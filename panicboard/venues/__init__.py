"""Venue adapters: four APIs behind one set of words."""
