"""somefail: A Flower App that is broken on purpose."""
