"""Rehearsals of the day it goes wrong, against the running product with simulated devices of their own."""
