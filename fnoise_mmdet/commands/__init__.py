"""Implementation of the command lines, whose arguments are parsed in ``cli``."""
