"""The Pulumi graph: the only package that declares resources."""
