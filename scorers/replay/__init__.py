"""Re-enacting recorded proposals and votes on a fresh local chain, scored and compared with the record."""
