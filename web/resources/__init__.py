"""What all requests share, and the dependencies that hand it to the functions that answer them."""
