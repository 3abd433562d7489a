"""What commands share: flags, errors, tables and the live line on a terminal."""
