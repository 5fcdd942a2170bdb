"""The functions and what surrounds them on a laptop, without any cloud; never deployed."""
