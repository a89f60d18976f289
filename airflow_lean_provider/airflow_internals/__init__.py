"""
The one place that knows Airflow's private models.

``lineage`` reads what happened, ``dags`` what the Dags are, ``holding`` holds, stops and lets go,
``clearing`` re-runs, ``absorbing`` keeps Airflow from computing a partition twice, ``gate`` sees every start.
Each fact about Airflow that they rely on has a contract test in ``tests/contract``.
"""
