"""Campaigns: one message to an audience, a file in OSS; paced, stoppable, every row accounted for.

A `Campaign` is the document that a user writes; its audience is cut into pieces, and each piece is an
asynchronous task of Function Compute that hands the rest of its piece over to the next one.
"""
