"""One module per kind of caller: operators, event sources, front ends, machines."""
