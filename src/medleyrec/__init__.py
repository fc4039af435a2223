"""Medley: from a log and a catalogue to an honestly evaluated next-item recommender."""
