"""The race: a deterministic fold of one venue's log into ordered slots. See docs/architecture.md."""
