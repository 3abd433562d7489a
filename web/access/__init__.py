"""Who asks, and what they may do: accounts, API keys, sessions, rates, headers against other sites."""
