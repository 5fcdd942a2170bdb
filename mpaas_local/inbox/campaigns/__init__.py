"""Campaigns in the inbox: started, displayed and controlled through the HTTP function."""
