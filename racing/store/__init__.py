"""All that touches Redis: the log, the commit, the reads and the embedded server."""
