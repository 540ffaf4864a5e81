"""Enrolment: people and their photos to the roster."""
