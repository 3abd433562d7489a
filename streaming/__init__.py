"""From the phone to the table: producer, verification, preparation, the streaming queries."""
