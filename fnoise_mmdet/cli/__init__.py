"""Argument parsers of the command lines, without slow imports; ``commands`` has the implementation."""
