"""Several models as one: their average, a weighted one, or a layer on top of them."""
