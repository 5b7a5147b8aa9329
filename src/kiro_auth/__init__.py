"""Sign in to AWS Kiro with your own accounts and use its models in the coding agents you already have."""

__version__ = "0.1.0"
