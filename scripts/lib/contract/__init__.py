"""Writes docs/contract from the code: schemas, AsyncAPI document, test vectors."""
