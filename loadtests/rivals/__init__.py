"""Rivals: what one would use instead, each honest and good of its kind, measured in the same run as ours."""
