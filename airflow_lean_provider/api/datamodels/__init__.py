"""What goes over the wire, in and out: pydantic models, apart from the routes."""
