"""What the gates run; usable without Pulumi."""
