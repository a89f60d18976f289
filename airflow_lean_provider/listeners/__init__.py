"""Where Airflow calls us: a run or a task starts, an event is published. A few lines each, into the brake."""
