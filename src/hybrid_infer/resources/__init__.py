"""What hangs below the clients: one method for each thing that can be asked for."""
