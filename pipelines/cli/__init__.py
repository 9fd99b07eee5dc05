"""The command `hlmat`: its table of commands, messages and exit codes."""
