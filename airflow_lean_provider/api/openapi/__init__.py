"""The OpenAPI document of ``/andon/v1``, checked in beside this; ``make openapi`` writes it anew."""
