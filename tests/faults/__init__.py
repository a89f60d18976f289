"""
Every SQL statement of the product, and every commit, is a point at which its process dies or the database
refuses it; afterwards everything must come to the same good end, by the judgement of the simulation's oracle.
"""
