"""Loads a server with requests, and counts what is lost, wrong or slow."""
