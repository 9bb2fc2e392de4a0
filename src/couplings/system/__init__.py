"""The machine: files, processes, interrupts, the terminal."""
