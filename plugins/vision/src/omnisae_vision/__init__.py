"""Pictures and vision models for omnisae."""
