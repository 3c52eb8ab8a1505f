"""What is asked and what is answered: data, without I/O."""
