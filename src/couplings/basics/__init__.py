"""What everything else stands on: errors, checks of values, precision, sizes; knows torch alone."""
