"""One command per module; the module's name is the command's, and the command is called `command` there."""
