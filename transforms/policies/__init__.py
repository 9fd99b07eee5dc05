"""One module per way to choose the next action, behind the protocol `ClickPolicy`."""
