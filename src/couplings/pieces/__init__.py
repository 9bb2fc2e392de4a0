"""What a user chooses to make a coupling of: costs, marginals, rules, masks."""
