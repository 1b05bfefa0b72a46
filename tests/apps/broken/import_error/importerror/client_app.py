"""importerror: A Flower App that is broken on purpose."""

from flwr.clientapp import ClientApp

raise ImportError("No module named 'a_library_that_nobody_installed'")

# Flower ClientApp
app = ClientApp()
