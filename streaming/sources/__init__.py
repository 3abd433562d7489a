"""Where `hub push` reads pictures: folders, archives, buckets and the digits."""
