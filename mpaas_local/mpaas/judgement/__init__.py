"""The push service's judgement of a push: parameters in, result code out."""
