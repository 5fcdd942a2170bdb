"""The functions and their cloud services on a laptop; never deployed."""
