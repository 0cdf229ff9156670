"""What the command lines do, given the arguments that ``cli`` parsed."""
