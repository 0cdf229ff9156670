"""Arguments of the command lines, quick to import; what the commands do is in ``commands``."""
