"""What things cost: dated, sourced prices, and the share of a machine that each call used."""
