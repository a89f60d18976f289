"""``airflow andon``."""
