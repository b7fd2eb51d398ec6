"""The Pulumi graph: the only room that declares resources."""
