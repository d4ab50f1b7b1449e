"""The scenarios of the bench; their names are permanent, so that results of different commits compare."""
