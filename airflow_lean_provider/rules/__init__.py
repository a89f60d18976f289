"""
The five definitions and the plan that follows from them: plain functions over plain facts.

``facts`` says what is known, ``versions`` what was published, ``badness`` which versions and partitions
are bad and who saw them (D1, D2), ``starts`` who may start (D3), ``debts`` who must run again and who pays
(D4, D5), ``plan`` what has to be done about it. Nothing here imports a framework.
"""
