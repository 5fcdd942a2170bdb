"""Campaigns: one message to an audience in a file of OSS, paced, stoppable, accounted for.

A `Campaign` is the document that a user writes; its audience is cut into pieces, and each piece is an
asynchronous task of Function Compute that hands the rest of its piece on to the next one.
"""
