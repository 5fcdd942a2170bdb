"""Campaigns in the inbox: started, watched and steered through the HTTP function."""
