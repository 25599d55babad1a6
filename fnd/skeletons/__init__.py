"""What `fnd plugins new` begins with: distributions that work as they are, of a plugin called "skeleton"."""
