"""Measures what features in float32, bfloat16 and int8 do to the accuracy of heads and to the ranking of candidates."""
