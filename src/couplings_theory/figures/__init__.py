"""What the claims show; a function draws given numbers on a figure and computes nothing."""
