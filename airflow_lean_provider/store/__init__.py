"""Our tables: what an open cord needs, and nothing that refers to Airflow's own tables."""
