"""What a command line is made of: options and the words that they take; loads no torch."""
