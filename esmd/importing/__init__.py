"""Mappings that stand elsewhere, in templates or at a Lambda endpoint, turned into a configuration of esmd."""
