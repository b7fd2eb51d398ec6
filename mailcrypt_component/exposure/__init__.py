"""What whoever takes the disk can read."""
