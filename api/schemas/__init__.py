"""What is sent and answered, as OpenAPI shows it (pydantic): one module per subject."""
