"""What a user holds: scores, couplings solved on them, and the plans that they are compared with."""
