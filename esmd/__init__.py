"""esmd: AWS Lambda's event source mappings, anywhere."""

__version__ = "0.1.0"
