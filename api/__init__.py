"""HTTP: events in, slots out. Thin: routes declare, the store does, frames are served from memory."""
