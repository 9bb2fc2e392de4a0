"""How sums over pairs are computed: one matrix, panels or tiles, on one process or several."""
