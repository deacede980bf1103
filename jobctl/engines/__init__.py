"""Container engines: what jobctl asks of one (``base``) and one module for each kind."""
