"""Where Airflow calls us: a run starts, a task starts, an event is published. A few lines each, into the brake."""
